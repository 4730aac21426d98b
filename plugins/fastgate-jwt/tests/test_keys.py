"""Keys at a URL, as they come, go and stay away; and keys that are none."""

import asyncio
import base64
import logging

import pytest
from pydantic import ValidationError

from fastgate import Catalog, ConfigMapRef
from fastgate_jwt import JWT, Config
from fastgate_jwt.keys import KeysError, parse_keys, secret


async def test_keys_are_fetched_once_for_all(published, running, issuer, call):
    published.gate.clear()
    one = await running(keys={"url": published.url})
    requests = [asyncio.create_task(call(one, issuer.token())) for _ in range(20)]
    await published.asked.wait()
    published.gate.set()
    assert [answer for answer, _, _ in await asyncio.gather(*requests)] == [None] * 20
    assert published.seen == 1


async def test_an_unknown_key_is_asked_for_once(published, running, issuer, call):
    one = await running(keys={"url": published.url, "cooldown": 3600})
    assert (await call(one, issuer.token()))[0] is None
    one._remote._next = 0.0  # an hour later
    published.document = issuer.jwks("ES256", "EdDSA")
    new = issuer.token("EdDSA")
    answers = await asyncio.gather(*(call(one, new) for _ in range(20)))
    assert [answer for answer, _, _ in answers] == [None] * 20
    assert published.seen == 2
    for _ in range(5):  # of a key that there is not
        assert (await call(one, issuer.token(kid="made-up")))[0].status == 401
    assert published.seen == 2


async def test_a_client_that_leaves_does_not_end_the_fetch_for_others(published, running, issuer, call):
    published.gate.clear()
    one = await running(keys={"url": published.url})
    first, second = (asyncio.create_task(call(one, issuer.token())) for _ in range(2))
    await published.asked.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    published.gate.set()
    assert (await second)[0] is None
    assert published.seen == 1


async def test_keys_age(published, running, issuer, call):
    published.headers = "cache-control: public, max-age=1\r\n"
    one = await running(keys={"url": published.url, "minimumLifetime": 1})
    assert (await call(one, issuer.token()))[0] is None
    published.document = issuer.jwks("EdDSA")
    published.asked.clear()
    await published.asked.wait()
    while one._remote._fetch is not None:
        await asyncio.shield(one._remote._fetch)
    assert (await call(one, issuer.token()))[0].status == 401  # its key is gone
    assert (await call(one, issuer.token("EdDSA")))[0] is None


@pytest.mark.parametrize(
    ("age", "lifetime"),
    [
        ("max-age=120", 120),
        ("max-age=1", 60),
        ("no-cache", 600),
        ("s-maxage=5, max-age=300", 300),
        ("max-age=999999999", 86400),
    ],
)
async def test_how_long_keys_are_used(published, running, issuer, call, age, lifetime):
    published.headers = f"cache-control: {age}\r\n"
    one = await running(keys={"url": published.url})
    assert (await call(one, issuer.token()))[0] is None
    assert one._remote._lifetime == lifetime


@pytest.mark.parametrize(
    ("status", "document", "said"),
    [
        (500, b"", "answered with status 500"),
        (302, b"", "answered with status 302"),
        (200, b"<html>", "neither JSON nor PEM"),
        (200, b'{"keys": []}', "no public key for signatures"),
        (200, b" " * (1 << 20) + b"{}", "more than 1048576 bytes"),
    ],
)
async def test_the_last_good_keys_are_kept(published, running, issuer, call, caplog, status, document, said):
    one = await running(keys={"url": published.url})
    assert (await call(one, issuer.token()))[0] is None
    published.status, published.document = status, document
    one._remote._next = 0.0
    assert (await call(one, issuer.token(kid="new")))[0].status == 401
    assert published.seen == 2
    assert (await call(one, issuer.token()))[0] is None
    assert said in caplog.text
    assert "the keys stay as they are" in caplog.text


async def test_without_keys_nothing_passes(published, running, issuer, call, caplog):
    published.status = 503
    one = await running(keys={"url": published.url})
    answer, _, context = await call(one, issuer.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "www-authenticate" not in answer.headers
    assert context.counts == {"jwt_unavailable": 1}
    assert "there are no keys yet" in caplog.text
    published.status = 200
    one._remote._next = 0.0
    assert (await call(one, issuer.token()))[0] is None


async def test_a_server_that_does_not_answer(published, running, issuer, call, caplog):
    caplog.set_level(logging.WARNING)
    published.gate.clear()
    one = await running(keys={"url": published.url, "timeout": 0.05})
    assert (await call(one, issuer.token()))[0].status == 503
    assert "TimeoutError" in caplog.text


async def test_a_server_that_is_not_there(published, running, issuer, call):
    await published.stop()
    one = await running(keys={"url": published.url})
    assert (await call(one, issuer.token()))[0].status == 503


@pytest.mark.parametrize("text", ["no PEM", "", "ä"])
async def test_authorities_that_are_none(text):
    config = Config.model_validate(
        {"keys": {"url": "https://id.example/", "caCertificates": {"name": "ca", "key": "x"}}}
    )
    keys = config.keys.model_copy(update={"ca_certificates": ConfigMapRef.of(text)})
    with pytest.raises(ValueError, match=r"keys\.caCertificates: "):
        await JWT(config.model_copy(update={"keys": keys})).start()


# --- what is a key ---------------------------------------------------------------------------------------------------


def test_keys_of_no_use_are_left_out(issuer):
    good = issuer.jwk("ES256", kid="good")
    bad = [
        {**good, "use": "enc"},
        {**good, "key_ops": ["encrypt"]},
        {**good, "alg": "RS256"},
        {**good, "alg": 7},
        {**good, "kid": 7},
        {**good, "crv": "P-999"},
        {**good, "x": "AA"},
        {**issuer.jwk("RS256"), "n": "AQAB"},  # too short
        {"kty": "oct", "k": base64.urlsafe_b64encode(b"0" * 32).decode(), "kid": "secret"},
        {"kty": "OKP", "crv": "X25519", "x": issuer.jwk("EdDSA")["x"]},
        "no object",
        None,
    ]
    assert len(parse_keys({"keys": [*bad, good]})) == 1
    for one in bad:
        with pytest.raises(KeysError, match="no public key"):
            parse_keys({"keys": [one]})


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("", "neither JSON nor PEM"),
        (b"\xff", "neither JSON nor PEM"),
        ("[" * 100000, "neither JSON nor PEM"),
        ("[]", "no JSON Web Key Set"),
        ({"keys": {}}, "no JSON Web Key Set"),
        ({"keys": [{}] * 101}, "101 keys are more than 100"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no public key in PEM"),
    ],
)
def test_what_is_no_key_set(document, said):
    with pytest.raises(KeysError, match=said):
        parse_keys(document)


def test_what_is_no_secret(issuer):
    with pytest.raises(KeysError, match="has at least 64 bytes, not 63"):
        secret(b"x" * 63, ["HS256", "HS512"])
    with pytest.raises(KeysError, match="cannot be a key in PEM"):
        secret(issuer.pem("RS256"), ["HS256"])


async def test_a_key_in_pem(issuer, call):
    config = Config.model_validate({"keys": {"configMap": {"name": "keys", "key": "pem"}}})
    keys = config.keys.model_copy(update={"config_map": ConfigMapRef.of(issuer.pem())})
    one = JWT(config.model_copy(update={"keys": keys}))
    assert (await call(one, issuer.token()))[0] is None


# --- configurations --------------------------------------------------------------------------------------------------

PEM = {"inline": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"}
URL = {"url": "https://id.example/keys"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "Field required"),
        ({"keys": {}}, "keys come from one of url, configMap, secret and inline"),
        ({"keys": {**URL, "inline": "x"}}, "keys come from one of url, configMap, secret and inline"),
        ({"keys": {"url": "file:///etc/passwd"}}, "URL scheme should be 'http' or 'https'"),
        ({"keys": {"inline": {"keys": []}}}, "inline: no public key for signatures"),
        ({"keys": PEM}, "inline: no public key in PEM"),
        ({"keys": URL, "algorithms": ["none"]}, "Input should be 'RS256'"),
        ({"keys": URL, "algorithms": []}, "at least 1 item"),
        ({"keys": URL, "algorithms": ["HS256", "RS256"]}, "cannot be mixed with those of public keys"),
        ({"keys": URL, "algorithms": ["HS256"]}, "need keys.secret"),
        ({"keys": URL, "claimsToHeaders": {"x y": "sub"}}, "is not a field name"),
        ({"keys": URL, "claimsToHeaders": {"Host": "sub"}}, "cannot be edited"),
        ({"keys": URL, "claimsToHeaders": {"content-length": "sub"}}, "cannot be edited"),
        ({"keys": URL, "sources": []}, "at least 1 item"),
        ({"keys": URL, "sources": [{"cookie": "a", "query": "b"}]}, "one of header, cookie and query"),
        ({"keys": URL, "sources": [{"cookie": "a", "scheme": "Bearer"}]}, "only a token in a header has a scheme"),
        ({"keys": URL, "sources": [{"cookie": "a=b"}]}, "has a character that a name cannot have"),
        ({"keys": URL, "realm": 'a"b'}, "should match pattern"),
        ({"keys": URL, "leeway": "soon"}, "valid number"),
        ({"keys": URL, "issuers": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration(config, said):
    with pytest.raises(ValidationError, match=said.replace("(", r"\(")):
        Config.model_validate(config)


def test_it_is_installed():
    found = Catalog().check("JWT")
    assert found.cls is JWT
    assert found.phases == {"request"}
    canonical = found.validated({"keys": {"url": "https://id.example/keys"}, "claimsToHeaders": {"x-user": "sub"}})
    assert found.instance(canonical).config.claims_to_headers == {"x-user": "sub"}
