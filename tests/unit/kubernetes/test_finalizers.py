from __future__ import annotations

import asyncio

import pytest
from api_server import GATEWAYS, LISTENERS

from fastgate.kubernetes import finalizers
from fastgate.kubernetes.finalizers import FINALIZER, Finalizers

CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
OURS = {"spec": {"controllerName": "us"}}
GATEWAY = {"spec": {"gatewayClassName": "ours", **LISTENERS}}


def present(api, name="ours"):
    return api.get(CLASSES, name, "")["metadata"].get("finalizers")


@pytest.fixture
def attending(client):
    tasks = []

    async def start(cache, may_write=lambda: True):
        found = Finalizers(client, cache, "us", may_write)
        tasks.append(asyncio.ensure_future(found.run()))
        cache.on_change = lambda _key, _resource: found.look()
        found.look()
        return found

    yield start
    for task in tasks:
        task.cancel()


async def test_a_class_stays_while_it_has_gateways(api, following, attending, until):
    await api.put(CLASSES, "ours", "", metadata={"finalizers": ["theirs"]}, **OURS)
    await api.put(CLASSES, "other", "", spec={"controllerName": "them"})
    await api.put(GATEWAYS, "a", **GATEWAY)
    await api.put(GATEWAYS, "b", spec={"gatewayClassName": "other", **LISTENERS})
    async with following("GatewayClass", "Gateway") as cache:
        await attending(cache)
        await until(lambda: present(api) == ["theirs", FINALIZER])
        await api.delete(GATEWAYS, "a")
        await until(lambda: present(api) == ["theirs"])
        assert present(api, "other") is None


async def test_who_may_not_write_does_not(api, following, attending, until):
    await api.put(CLASSES, "ours", "", **OURS)
    await api.put(GATEWAYS, "a", **GATEWAY)
    async with following("GatewayClass", "Gateway") as cache:
        found = await attending(cache, lambda: False)
        await until(lambda: not found._news.is_set())
        assert api.asked("PATCH", CLASSES) == []


async def test_what_failed_is_tried_again(api, following, attending, until, monkeypatch):
    monkeypatch.setattr(finalizers, "_AGAIN", 0.01)
    await api.put(CLASSES, "ours", "", **OURS)
    await api.put(GATEWAYS, "a", **GATEWAY)
    async with following("GatewayClass", "Gateway") as cache:
        api.faults = [("/gatewayclasses/ours", 409, {"reason": "Conflict"})]
        await attending(cache)
        await until(lambda: present(api) == [FINALIZER])


async def test_a_class_that_is_being_deleted_gets_none(api, following, attending, until):
    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    await api.put(CLASSES, "ours", "", metadata=gone, **OURS)
    await api.put(GATEWAYS, "a", **GATEWAY)
    async with following("GatewayClass", "Gateway") as cache:
        found = await attending(cache)
        await until(lambda: not found._news.is_set())
        assert present(api) is None
