"""Buckets in a server: a real one, as it goes, hangs and comes back."""

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from redis.asyncio import Redis

from fastgate import Context, Request, SecretRef
from fastgate_ratelimit import Config, RateLimit
from fastgate_ratelimit.bucket import SECOND, Rate
from fastgate_ratelimit.config import RedisStore
from fastgate_ratelimit.shared import Shared
from fastgate_ratelimit.store import StoreError

SLOW = Rate(interval=3600 * SECOND, burst=100)  # nothing comes back during a test
PATIENT = 10  # seconds, where the time of an answer is not what is tested


class Server:
    """A server on a socket in a folder."""

    def __init__(self, folder):
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        assert found, "the tests need redis-server or valkey-server"
        path = Path(folder) / "s"
        self._command = [found, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
        self.url = f"unix://{path}"
        self.start()

    def start(self):
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert any("eady to accept connections" in line for line in self._process.stdout)

    def signal(self, number):
        os.kill(self._process.pid, number)

    def stop(self):
        with self._process:
            self._process.kill()


@pytest.fixture
def server():
    with tempfile.TemporaryDirectory(prefix="fastgate-") as folder:
        server = Server(folder)
        yield server
        server.stop()


@asynccontextmanager
async def opened(server, rate=SLOW, **config):
    store = Shared(RedisStore(type="redis", url=server.url, **{"timeout": PATIENT, **config}), rate)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def taken(store, times, key=b"key", owner="a/b"):
    return sum([(await store.take(owner, key)).allowed for _ in range(times)])


async def test_gateways_share_a_bucket_exactly(server):
    async with opened(server) as first, opened(server, connections=2) as second:
        counts = await asyncio.gather(*(taken(one, 20) for one in (first, second) for _ in range(5)))
        assert sum(counts) == SLOW.burst
        assert await taken(first, 1, b"another") == 1
        assert await taken(second, 1, owner="a/c") == 1


async def test_decisions_are_those_of_the_local_store(server):
    async with opened(server, Rate(interval=3600 * SECOND, burst=2)) as store:
        decisions = [await store.take("a/b", b"key") for _ in range(3)]
    assert [(one.allowed, one.remaining) for one in decisions] == [(True, 1), (True, 0), (False, 0)]
    assert [one.wait // SECOND for one in decisions] == [0, 3599, 3599]
    assert [-(-one.full // SECOND) for one in decisions] == [3600, 7200, 7200]


async def test_a_bucket_of_many_small_intervals(server):
    """Numbers as large as the time of day in microseconds have halves only: nothing is lost by that."""
    rate = Rate(interval=3333, burst=1_000_000)
    async with opened(server, rate) as store:
        decisions = [await store.take("a/b", b"key") for _ in range(300)]
    assert all(one.allowed for one in decisions)
    assert all(one.full < 300 * rate.interval + 300_000 for one in decisions)


async def test_keys_are_not_readable_and_do_not_stay(server):
    async with opened(server, Rate(interval=SECOND // 100, burst=5), prefix="p") as store:
        await store.take("a/b", b"ada@example.com")
        async with Redis.from_url(server.url) as client:
            names = await client.keys("*")
            for name in names:
                assert name.startswith(b"p:a/b:")
                assert b"ada" not in name
                assert await client.pttl(name) <= 11
            assert len(names) <= 1


async def test_a_server_that_was_restarted(server):
    async with opened(server) as store:
        assert await taken(store, 100) == 100
        server.stop()
        server.start()  # kept connections are dead, the script is not there
        assert await taken(store, 1) == 1


async def test_a_server_that_hangs_costs_its_timeout_once(server, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    now = [1000.0]
    monkeypatch.setattr("fastgate_ratelimit.shared.time", SimpleNamespace(monotonic=lambda: now[0]))
    async with opened(server) as store:
        assert await taken(store, 1) == 1
        server.signal(signal.SIGSTOP)
        store._timeout = 0.02
        with pytest.raises(StoreError, match="TimeoutError"):
            await store.take("a/b", b"key")
        store._timeout = PATIENT
        with pytest.raises(StoreError, match="the server does not answer"):
            await store.take("a/b", b"key")  # is not asked at all: it would wait
        server.signal(signal.SIGCONT)
        with pytest.raises(StoreError):
            await store.take("a/b", b"key")
        now[0] += 1.5
        tries = await asyncio.gather(*(store.take("a/b", b"key") for _ in range(3)), return_exceptions=True)
        assert [isinstance(one, StoreError) for one in tries] == [False, True, True]  # one tries for all
        assert await taken(store, 3) == 3
    said = [record.getMessage() for record in caplog.records if record.name == "fastgate_ratelimit"]
    assert said == [
        "the server of rate limits does not answer: TimeoutError",
        "the server of rate limits answers again",
    ]


async def test_a_server_that_is_not_there(server):
    server.stop()
    async with opened(server) as store:
        with pytest.raises(StoreError, match="connecting"):
            await store.take("a/b", b"key")
    server.start()


async def test_something_else_under_its_key(server):
    async with opened(server) as store, Redis.from_url(server.url) as client:
        await store.take("a/b", b"key")
        (name,) = await client.keys("*")
        await client.delete(name)
        await client.lpush(name, "x")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            await store.take("a/b", b"key")


async def test_a_filter_with_the_url_of_a_secret(server):
    store = {"type": "redis", "url": {"name": "cache", "key": "url"}, "timeout": 10}
    config = Config.model_validate({"requests": 2, "per": 3600, "store": store})
    ref = {"url": SecretRef.of(server.url + "\n")}
    one = RateLimit(config.model_copy(update={"store": config.store.model_copy(update=ref)}))
    await one.start()
    answers = [await one.on_request(Request(), Context(filter="a/b")) for _ in range(3)]
    await one.stop()
    assert [answer and answer.status for answer in answers] == [None, None, 429]
    assert answers[2].headers["ratelimit"] == '"default";r=0;t=1800'
