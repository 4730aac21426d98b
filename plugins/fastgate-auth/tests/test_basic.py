"""Names and passwords."""

import asyncio
import base64
import threading
from types import SimpleNamespace

import argon2
import bcrypt
import pytest
from pydantic import ValidationError

from fastgate import Catalog, Context, Request, SecretRef
from fastgate_auth import IDENTITY, BasicAuth, BasicAuthConfig
from fastgate_auth import passwords as module

ADA, BOB = b"correct horse", "p\xe4ss:word".encode()
LONG = b"x" * 73
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
USERS = "\n".join(
    [
        "ada:" + bcrypt.hashpw(ADA, bcrypt.gensalt(4)).decode(),
        "bob:" + CHEAP.hash(BOB),
        "old:" + bcrypt.hashpw(b"apache", bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
        "long:" + bcrypt.hashpw(LONG[:72], bcrypt.gensalt(4)).decode(),
    ]
)


def made(text=USERS, **config):
    parsed = BasicAuthConfig.model_validate({"users": {"name": "users", "key": "htpasswd"}, **config})
    return BasicAuth(parsed.model_copy(update={"users": SecretRef.of(text)}))


def basic(name, password, scheme="Basic"):
    return {"authorization": f"{scheme} " + base64.b64encode(name.encode() + b":" + password).decode()}


async def call(one, headers=()):
    request, context = Request(headers=headers), Context()
    return await one.on_request(request, context), request, context


@pytest.fixture
def computed(monkeypatch):
    """Names for which a hash was computed; `gate` holds the threads up when it is cleared."""

    class Computed(list):
        gate = threading.Event()

    names = Computed()
    names.gate = threading.Event()
    names.gate.set()
    right = module.Users.right

    def counted(self, name, password):
        assert names.gate.wait(30)
        names.append(name)
        return right(self, name, password)

    monkeypatch.setattr(module.Users, "right", counted)
    return names


@pytest.mark.parametrize(("name", "password"), [("ada", ADA), ("bob", BOB), ("old", b"apache")])
async def test_a_user_passes(name, password):
    one = made(identityHeader="x-user")
    answer, request, context = await call(one, {**basic(name, password, "bASIC"), "X-User": "root"})
    assert answer is None
    assert request.headers.items() == [("x-user", name)]
    assert context[IDENTITY] == context.log["identity"] == name


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", b"wrong"),
        ("ada", b""),
        ("ada", BOB),
        ("bob", ADA),
        ("eve", ADA),
        ("", b""),
        ("Ada", ADA),
        ("long", LONG),
    ],
)
async def test_others_do_not(computed, name, password):
    answer, _, context = await call(made(realm="shop"), basic(name, password))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="shop", charset="UTF-8"')
    assert context.counts == {"basic_wrong": 1}
    assert IDENTITY not in context
    assert computed == [name]  # also of a user that there is not


@pytest.mark.parametrize(
    "value",
    [
        "", "Basic", "Basic ", "Bearer x", "Basic !", "Basic YWRh", "Basic /zp4", "Basic " + "YTph" * 1000,
        basic("a\0b", b"c")["authorization"], basic("ada", b"a\nb")["authorization"],
    ],
)  # fmt: skip
async def test_what_are_no_credentials(computed, value):
    answer, _, context = await call(made(), {"authorization": value})
    assert answer.status == 401
    assert context.counts == {"basic_missing": 1}
    assert computed == []


async def test_two_fields_are_none(computed):
    answer, _, _ = await call(made(), [*basic("ada", ADA).items(), *basic("bob", BOB).items()])
    assert answer.status == 401
    assert (await call(made()))[0].status == 401
    assert computed == []


async def test_credentials_are_passed_on_if_asked():
    _, request, _ = await call(made(forward=True), basic("ada", ADA))
    assert dict(request.headers) == basic("ada", ADA)


# --- how often hashes are computed -----------------------------------------------------------------------------------


async def test_the_right_ones_are_remembered(computed):
    one = made()
    for _ in range(3):
        assert (await call(one, basic("ada", ADA)))[0] is None
        assert (await call(one, basic("ada", b"wrong")))[0].status == 401
    assert computed == ["ada"] * 4


async def test_they_are_remembered_for_a_while(computed, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("fastgate_auth.verified.time", SimpleNamespace(monotonic=lambda: now[0]))
    one = made(remember=10)
    for time, times in ((100, 1), (109, 1), (111, 2)):
        now[0] = time
        assert (await call(one, basic("ada", ADA)))[0] is None
        assert len(computed) == times


async def test_nothing_is_remembered_if_asked(computed):
    one = made(remember=0)
    for _ in range(2):
        assert (await call(one, basic("ada", ADA)))[0] is None
    assert computed == ["ada", "ada"]


def test_not_more_than_fit_are_remembered():
    verified = made()._verified
    marks = [verified.mark(f"user{n}", b"x") for n in range(1025)]
    for mark in marks[:1024]:
        verified.add(mark)
    assert marks[0] in verified
    verified.add(marks[1024])
    assert marks[0] in verified
    assert marks[1] not in verified
    assert len(verified._until) == 1024


async def test_the_same_credentials_are_computed_once(computed):
    computed.gate.clear()
    one = made()
    calls = [asyncio.ensure_future(call(one, basic("ada", ADA))) for _ in range(10)]
    await asyncio.sleep(0)  # each has its turn
    assert len(one._computing) == 1
    calls[0].cancel()
    await asyncio.wait([calls[0]])
    computed.gate.set()
    assert [answer for answer, _, _ in await asyncio.gather(*calls[1:])] == [None] * 9
    assert computed == ["ada"]


async def test_the_queue_is_bounded(computed):
    computed.gate.clear()
    one = made(threads=1, queue=2)
    waiting = [asyncio.ensure_future(call(one, basic("eve", b"%d" % n))) for n in range(3)]
    await asyncio.sleep(0)  # each has its turn
    assert len(one._computing) == 3
    answer, _, context = await call(one, basic("eve", b"more"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert context.counts == {"basic_overloaded": 1}
    waiting.append(asyncio.ensure_future(call(one, basic("eve", b"0"))))  # waits for what is computed anyway
    await asyncio.sleep(0)
    computed.gate.set()
    assert [answer.status for answer, _, _ in await asyncio.gather(*waiting)] == [401] * 4
    assert (await call(one, basic("ada", ADA)))[0] is None


async def test_it_stops_while_hashes_are_computed(computed):
    computed.gate.clear()
    one = made(threads=1)
    waiting = [asyncio.ensure_future(call(one, basic("eve", b"%d" % n))) for n in range(3)]
    await asyncio.sleep(0)  # each has its turn
    assert len(one._computing) == 3
    await one.stop()
    computed.gate.set()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [False, True, True]


# --- users and configurations ----------------------------------------------------------------------------------------

BCRYPT = "$2b$%s$" + "a" * 53


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "users: there are none"),
        ("ada", "users, line 1: not name:hash"),
        ("ada:hunter2", "users, line 1: the hash of ada is of neither bcrypt nor Argon2"),
        ("ada:$apr1$aaaaaaaa$bbbbbbbbbbbbbbbbbbbbbb", "is of neither bcrypt nor Argon2"),
        ("ada:$2b$04$short", "is of neither bcrypt nor Argon2"),
        ("ada:" + BCRYPT % "31", r"costs too much: 2\^16 rounds of bcrypt are the most"),
        ("ada:$argon2id$v=19$m=65536", "is no hash of Argon2"),
        ("ada:$argon2id$v=19$m=2097152,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g", "needs too much memory"),
        (USERS + "\nada:" + BCRYPT % "04", "users, line 5: ada is there already"),
    ],
)
def test_users_that_are_none(text, said):
    with pytest.raises(ValueError, match=said) as raised:
        made(text)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"users": "ada:x"}, "valid dictionary or instance of SecretRef"),
        ({"users": {"name": "a", "key": "b"}, "threads": 0}, "greater than or equal to 1"),
        ({"users": {"name": "a", "key": "b"}, "remember": -1}, "greater than or equal to 0"),
        ({"users": {"name": "a", "key": "b"}, "identityHeader": "connection"}, "cannot be edited"),
        ({"users": {"name": "a", "key": "b"}, "user": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration(config, said):
    with pytest.raises(ValidationError, match=said):
        BasicAuthConfig.model_validate(config)


def test_it_is_installed():
    found = Catalog().check("fastgate-auth/BasicAuth")
    assert found.cls is BasicAuth
    assert found.phases == {"request"}
    canonical = found.validated({"users": {"name": "users", "key": "htpasswd"}})
    canonical["users"]["value"] = base64.b64encode(USERS.encode()).decode()
    assert found.instance(canonical).config.threads == 2
