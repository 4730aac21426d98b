from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from fastgate.kubernetes import events
from fastgate.kubernetes.decoding import Stored
from fastgate.kubernetes.events import Events

EVENTS = "/apis/events.k8s.io/v1/events"
ROUTE = ("HTTPRoute", "shop", "web")


def stored(uid="u-1", version="gateway.networking.k8s.io/v1"):
    return Stored(SimpleNamespace(metadata=SimpleNamespace(uid=uid)), "7", b"null", version)


@pytest.fixture
async def telling(client):
    found = Events(client, "example.com/us", "host_1")
    task = asyncio.ensure_future(found.run())
    yield found
    task.cancel()


def written(api):
    return api.all(EVENTS)


async def test_an_event_is_about_its_object(api, telling, until):
    telling.tell(ROUTE, stored(), "BackendNotFound", "there is no Service web", is_warning=True)
    await until(lambda: written(api))
    (event,) = written(api)
    assert event["metadata"]["namespace"] == "shop"
    assert event["regarding"] == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "namespace": "shop",
        "name": "web",
        "uid": "u-1",
    }
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "BackendNotFound", "there is no Service web")
    assert (event["reportingController"], event["reportingInstance"]) == ("example.com/us", "host_1")


async def test_what_has_no_namespace_is_told_in_the_default_one(api, telling, until):
    telling.tell(("GatewayClass", "", "edge"), stored(), "Invalid", "no such parameters", is_warning=True)
    await until(lambda: written(api))
    (event,) = written(api)
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["regarding"]


async def test_names_and_notes_fit(api, telling, until):
    telling.tell(("Gateway", "shop", "g" * 253), stored(), "Reason", "n" * 5000, is_warning=False)
    await until(lambda: written(api))
    (event,) = written(api)
    assert len(event["metadata"]["name"]) == 253
    assert (len(event["note"]), event["note"][-3:], event["type"]) == (1024, "...", "Normal")


async def test_what_is_told_again_is_counted_in_the_same_event(api, telling, until, monkeypatch):
    monkeypatch.setattr(events, "SERIES", 0.05)
    for _ in range(3):
        telling.tell(ROUTE, stored(), "Reason", "note", is_warning=True)
    await until(lambda: written(api))
    for _ in range(4):
        telling.tell(ROUTE, stored(), "Reason", "note", is_warning=True)
    await until(lambda: written(api)[0].get("series", {}).get("count") == 7)
    assert len(api.asked("POST", "events")) == 1
    assert len(api.asked("PATCH", "events")) == 1


async def test_another_object_of_the_same_name_is_another_one(api, telling, until):
    telling.tell(ROUTE, stored("u-1"), "Reason", "note", is_warning=True)
    telling.tell(ROUTE, stored("u-2"), "Reason", "note", is_warning=True)
    await until(lambda: {event["regarding"]["uid"] for event in written(api)} == {"u-1", "u-2"})


async def test_an_event_that_the_api_server_forgot_is_told_anew(api, telling, until, monkeypatch):
    monkeypatch.setattr(events, "SERIES", 0.0)
    telling.tell(ROUTE, stored(), "Reason", "note", is_warning=True)
    await until(lambda: written(api))
    await api.delete(EVENTS, written(api)[0]["metadata"]["name"], "shop")
    telling.tell(ROUTE, stored(), "Reason", "note", is_warning=True)
    await until(lambda: written(api))


async def test_there_are_only_so_many_a_second(api, telling, until, monkeypatch):
    monkeypatch.setattr(events, "PER_SECOND", 0.001)
    for number in range(events.AT_ONCE + 10):
        telling.tell(ROUTE, stored(), "Reason", f"note {number}", is_warning=True)
    await until(lambda: len(written(api)) == events.AT_ONCE)
    await until(lambda: len(telling._due) == 10)
    assert len(written(api)) == events.AT_ONCE


async def test_what_is_too_much_is_dropped_and_said_once(api, telling, until, monkeypatch, caplog):
    monkeypatch.setattr(events, "WAITING", 5)
    for number in range(20):
        telling.tell(ROUTE, stored(), "Reason", f"note {number}", is_warning=True)
    await until(lambda: len(written(api)) == 5)
    assert [record.message for record in caplog.records] == [
        "there are more Events than may be written: some are not told"
    ]


async def test_a_right_that_is_missing_is_said_once_and_stops_nothing(api, telling, until, caplog):
    api.faults += [("events", 403, {"reason": "Forbidden"}) for _ in range(2)]
    for number in range(3):
        telling.tell(ROUTE, stored(), "Reason", f"note {number}", is_warning=True)
    await until(lambda: written(api))
    (record,) = caplog.records
    assert record.message.startswith("an Event was not written: create /apis/events.k8s.io/v1/namespaces/shop/events")
