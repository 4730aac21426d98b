"""API keys: where they stand, and who has them."""

import hashlib

import pytest
from pydantic import ValidationError

from fastgate import Catalog, Context, Error, Request, SecretRef
from fastgate_auth import IDENTITY, APIKey, APIKeyConfig


def line(name, key):
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


KEYS = "\n".join(["# partners", line("ada", "key-of-ada"), "", line("bob", "key-of-bob"), line("ada", "second-of-ada")])


def made(text=KEYS, **config):
    parsed = APIKeyConfig.model_validate({"keys": {"name": "keys", "key": "list"}, **config})
    return APIKey(parsed.model_copy(update={"keys": SecretRef.of(text)}))


async def call(one, path="/", headers=()):
    request, context = Request("GET", path, headers=headers), Context()
    return await one.on_request(request, context), request, context


@pytest.mark.parametrize(("key", "name"), [("key-of-ada", "ada"), ("second-of-ada", "ada"), ("key-of-bob", "bob")])
async def test_a_key_passes(key, name):
    sent = [("X-API-Key", key), ("x-user", "root"), ("X-User", "root")]
    answer, request, context = await call(made(identityHeader="x-user"), headers=sent)
    assert answer is None
    assert request.headers.items() == [("x-user", name)]
    assert context[IDENTITY] == context.log["identity"] == name


@pytest.mark.parametrize(
    "key", ["", "key-of-ad", "key-of-adaa", "KEY-OF-ADA", "ada", "\xe4", line("ada", "key-of-ada")[4:]]
)
async def test_another_key_does_not(key):
    answer, _, context = await call(made(realm="shop"), headers={"x-api-key": key})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'ApiKey realm="shop"')
    assert context.counts == {"api_key_wrong": 1}
    assert IDENTITY not in context


async def test_without_key():
    answer, _, context = await call(made())
    assert answer.status == 401
    assert context.counts == {"api_key_missing": 1}


async def test_several_keys_are_refused():
    one = made(sources=[{"header": "x-api-key"}, {"query": "key"}])
    for path, fields in (("/?key=key-of-ada", {"x-api-key": "key-of-ada"}), ("/?key=key-of-ada&key=x", {})):
        answer, _, context = await call(one, path, fields)
        assert answer.status == 400
        assert context.counts == {"api_key_several": 1}


async def test_a_cookie():
    one = made(sources=[{"cookie": "key"}])
    answer, request, _ = await call(one, headers={"cookie": 'a=key; key="key-of-ada"; b'})
    assert answer is None
    assert request.headers["cookie"] == "a=key; b"
    answer, request, _ = await call(one, headers={"cookie": "key=key-of-ada"})
    assert answer is None
    assert "cookie" not in request.headers


async def test_the_query():
    one = made(sources=[{"query": "api key"}])
    answer, request, _ = await call(one, "/a?x=%2F&api+key=key%2Dof-ada&y")
    assert answer is None
    assert request.query == "x=%2F&y"


async def test_a_key_is_passed_on_if_asked():
    _, request, _ = await call(made(forward=True), headers={"x-api-key": "key-of-ada"})
    assert request.headers["x-api-key"] == "key-of-ada"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "keys: there are none"),
        ("# nobody", "keys: there are none"),
        ("ada", "keys, line 1: not name:hash"),
        (":" + "0" * 64, "keys, line 1: not name:hash"),
        ("\nada:key-of-ada", "keys, line 2: the hash of ada is not a SHA-256 in hexadecimal"),
        (KEYS + "\n" + line("eve", "key-of-ada"), "keys, line 6: the key of eve is there already"),
        ("zo\xeb:" + "0" * 64, "keys, line 1: a name is printable ASCII"),
    ],
)
def test_keys_that_are_none(text, said):
    with pytest.raises(ValueError, match=said) as raised:
        made(text)
    assert "key-of-ada" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "Field required"),
        ({"keys": "ada"}, "valid dictionary or instance of SecretRef"),
        ({"keys": {"name": "a", "key": "b"}, "sources": []}, "at least 1 item"),
        ({"keys": {"name": "a", "key": "b"}, "sources": [{}]}, "one of header, cookie and query"),
        ({"keys": {"name": "a", "key": "b"}, "sources": [{"header": "host"}]}, "cannot be edited"),
        ({"keys": {"name": "a", "key": "b"}, "identityHeader": "x y"}, "is not a field name"),
        ({"keys": {"name": "a", "key": "b"}, "realm": 'a"'}, "should match pattern"),
        ({"keys": {"name": "a", "key": "b"}, "header": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration(config, said):
    with pytest.raises(ValidationError, match=said):
        APIKeyConfig.model_validate(config)


def test_it_is_installed():
    found = Catalog().check("APIKey")
    assert found.cls is APIKey
    assert found.phases == {"request"}
    with pytest.raises(Error, match="not resolved"):
        found.instance(found.validated({"keys": {"name": "keys", "key": "list"}}))
