from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from api_server import GATEWAYS, LISTENERS, ROUTES

from fastgate.kubernetes import status_writer
from fastgate.kubernetes.status_writer import StatusWriter
from fastgate.translate.conditions import (
    CONTROLLER_NAME,
    Condition,
    GatewayStatus,
    ParentRef,
    ParentStatus,
    RouteStatus,
    Statuses,
)

KEY = ("HTTPRoute", "default", "a")
ROUTE = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {}}


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(status_writer, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(status_writer, "APART", 0.0)


@pytest.fixture
def writing(client, following):
    """Start a writer over the routes and Gateways of the server."""
    tasks = []

    async def start(cache, may_write=lambda: True):
        writer = StatusWriter(client, cache, CONTROLLER_NAME, may_write)
        tasks.append(asyncio.ensure_future(writer.run()))
        return writer

    yield start
    for task in tasks:
        task.cancel()


def parent(name="gw", status="True", generation=1):
    ref = ParentRef(None, None, None, name, None, None)
    return ParentStatus(ref, (Condition("Accepted", status, "Accepted", "m", generation),))


def wanted(*parents):
    return Statuses(routes={KEY: RouteStatus(parents)})


def parents(api):
    return api.get(ROUTES, "a").get("status", {}).get("parents", [])


def writes(api):
    return len(api.asked("PUT", "/status"))


async def test_a_status_is_written_once_and_only_when_it_changes(api, following, writing, until):
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.want(wanted(parent()))
        await until(lambda: parents(api))
        (entry,) = parents(api)
        assert entry["controllerName"] == CONTROLLER_NAME
        assert entry["parentRef"] == {"name": "gw"}
        assert entry["conditions"][0]["lastTransitionTime"].endswith("Z")
        writer.want(wanted(parent()))
        writer.want(wanted(parent("other")))
        await until(lambda: parents(api)[0]["parentRef"] == {"name": "other"})
        await until(lambda: writer.written == 2)
        assert writes(api) == 2


async def test_what_somebody_took_away_is_written_again_and_what_they_have_stays(api, following, writing, until):
    theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.want(wanted(parent()))
        await until(lambda: parents(api))
        await api.put(ROUTES, "a", status={"parents": [theirs]})
        await until(lambda: len(parents(api)) == 2)
        assert parents(api)[0] == theirs


async def test_a_conflict_is_decided_anew_on_what_is_there(api, following, writing, until):
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        api.faults = [("/status", 409, {"reason": "Conflict"})]
        writer.want(wanted(parent()))
        await until(lambda: parents(api))
        assert writes(api) == 2
        assert len(api.asked("GET", "/namespaces/default/httproutes/a")) == 1


async def test_a_server_that_fails_is_asked_again(api, following, writing, until):
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        api.faults = [("/status", 500, {}), ("/status", 429, {"Retry-After": "0"})]
        writer.want(wanted(parent()))
        await until(lambda: parents(api))
        assert writes(api) == 3


async def test_a_missing_right_is_said_once_by_verb_and_resource(api, following, writing, until, caplog, monkeypatch):
    monkeypatch.setattr(status_writer, "LAST_DELAY", 0.01)
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        api.faults = [("/status", 403, {"reason": "Forbidden"}) for _ in range(3)]
        writer.want(wanted(parent()))
        await until(lambda: parents(api))
    assert caplog.text.count("no right to update httproutes/status.gateway.networking.k8s.io") == 1


async def test_entries_of_a_route_that_left_are_removed_also_those_of_a_life_before(api, following, writing, until):
    ours = {"parentRef": {"name": "gone"}, "controllerName": CONTROLLER_NAME, "conditions": []}
    theirs = {**ours, "controllerName": "example.com/other"}
    await api.put(ROUTES, "a", spec={}, status={"parents": [ours, theirs]})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.want(Statuses())
        await until(lambda: parents(api) == [theirs])
        writer.want(wanted(parent()))
        await until(lambda: len(parents(api)) == 2)
        writer.want(Statuses())
        await until(lambda: parents(api) == [theirs])


async def test_nothing_is_written_before_it_is_known_what_is_wanted(api, following, writing, until):
    ours = {"parentRef": {"name": "gw"}, "controllerName": CONTROLLER_NAME, "conditions": []}
    await api.put(ROUTES, "a", spec={}, status={"parents": [ours]})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.look_at_all()
        await until(lambda: not writer._due)
        assert writes(api) == 0


async def test_who_may_not_write_does_not_and_does_it_all_when_he_may(api, following, writing, until):
    leads = []
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache, lambda: bool(leads))
        writer.want(wanted(parent()))
        await until(lambda: not writer._due)
        assert writes(api) == 0
        leads.append(True)
        writer.look_at_all()
        await until(lambda: parents(api))


async def test_many_changes_of_one_object_are_few_writes_and_the_last_is_written(
    api, following, writing, until, monkeypatch
):
    monkeypatch.setattr(status_writer, "APART", 0.1)
    await api.put(GATEWAYS, "gw", spec={"gatewayClassName": "fastgate", **LISTENERS})

    def status(sets):
        accepted = Condition("Accepted", "True", "Accepted", "m", 1)
        return Statuses(gateways={("default", "gw"): GatewayStatus((accepted,), (), attached_listener_sets=sets)})

    def attached():
        return api.get(GATEWAYS, "gw").get("status", {}).get("attachedListenerSets")

    async with following("Gateway") as cache:
        writer = await writing(cache)
        clock = asyncio.get_running_loop().time
        begun = clock()
        for number in range(1, 201):
            writer.want(status(number))
            await asyncio.sleep(0)
        await until(lambda: attached() == 200)
        assert writes(api) <= (clock() - begun) / status_writer.APART + 2


async def test_an_object_that_is_gone_is_nobodys_matter(api, following, writing, until):
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        api.faults = [("/status", 404, {"reason": "NotFound"})]
        writer.want(wanted(parent()))
        await until(lambda: writes(api) == 1 and not writer._busy)
        await api.delete(ROUTES, "a")
        await cache.changed()
        await until(lambda: not writer._due)
        assert writes(api) == 1


async def test_an_object_that_was_deleted_while_its_status_was_written_is_gone(api, following, writing, until):
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer, stored = await writing(cache), cache.stored(KEY)
        await api.delete(ROUTES, "a")
        await cache.changed()
        body = json.dumps({**ROUTE, "metadata": {"name": "a", "namespace": "default", "resourceVersion": "900"}})
        writer._note(KEY, body.encode(), stored)  # the answer comes late
        assert cache.stored(KEY) is None


async def test_what_was_decided_on_another_generation_is_not_written(api, following, writing, until):
    await api.put(ROUTES, "a", spec={}, metadata={"generation": 1})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.want(wanted(parent(generation=2)))  # of an object of this name that is no more
        await until(lambda: not writer._due)
        assert writes(api) == 0
        writer.want(wanted(parent(generation=1)))
        await until(lambda: parents(api))


async def test_who_is_undone_again_and_again_writes_less_and_less_often(
    api, following, writing, until, monkeypatch, caplog
):
    """Two controllers of one name: neither can win, and the API server must not pay for it."""
    monkeypatch.setattr(status_writer, "APART", 0.01)
    clock = asyncio.get_running_loop().time
    await api.put(ROUTES, "a", spec={})
    async with following("HTTPRoute") as cache:
        writer = await writing(cache)
        writer.want(wanted(parent()))
        moments = []
        for number in range(1, 9):
            await until(lambda n=number: writes(api) == n and parents(api))
            moments.append(clock())
            await api.put(ROUTES, "a", status={"parents": []})
        apart = [later - sooner for sooner, later in pairwise(moments)]
        assert apart[-1] > 8 * status_writer.APART
        assert caplog.text.count("somebody else writes the entries") == 1
        writer.want(wanted(parent("other")))
        began = clock()
        await until(lambda: parents(api) and parents(api)[0]["parentRef"] == {"name": "other"})
        assert clock() - began < apart[-1]
