from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from api_server import api_server

from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.client import Client
from fastgate.kubernetes.config import Config
from fastgate.kubernetes.credentials import Source, Standing
from fastgate.kubernetes.kinds import KINDS
from fastgate.kubernetes.reflector import Reflector


@pytest.fixture
async def api():
    async with api_server() as server:
        yield server


@pytest.fixture
async def client(api):
    async with Client(Config(api.url, Standing(Source()))) as client:
        yield client


@pytest.fixture
def following(client):
    """Run reflectors of some kinds, and give the cache once it is complete."""

    @asynccontextmanager
    async def follow(*kinds, namespace="", wait=True, before=lambda _: None):
        cache = Cache((kind, namespace) for kind in kinds)
        before(cache)
        cache.reflectors = [Reflector(client, cache, KINDS[kind], namespace) for kind in kinds]
        tasks = [asyncio.ensure_future(each.run()) for each in cache.reflectors]
        try:
            if wait:
                await asyncio.wait_for(cache.complete.wait(), 5)
                cache.store()
            yield cache
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return follow


@pytest.fixture
def until():
    """Wait for something to hold, whenever another task had its turn."""

    async def wait(holds):
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.001)

    return wait
