"""What an API server does to a watch, and what is known of its objects meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from api_server import GATEWAYS, LISTENERS, ROUTES

from fastgate.kubernetes import reflector
from fastgate.kubernetes.cache import Cache
from fastgate.kubernetes.client import ApiError, Client
from fastgate.kubernetes.config import Config
from fastgate.kubernetes.credentials import Identity
from fastgate.kubernetes.decoding import Stored


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    for name in ("FIRST_DELAY", "LAST_DELAY", "LOOK_AGAIN"):
        monkeypatch.setattr(reflector, name, 0.01)


def route(hostname="a.example.com"):
    return {"spec": {"hostnames": [hostname], "parentRefs": [{"name": "gw"}]}}


def refusals(number):
    return [(ROUTES, 403, {"reason": "Forbidden"}) for _ in range(number)]


def names(cache):
    return sorted(source.metadata.name for source in cache.store().list("HTTPRoute"))


def hostnames(cache):
    return {source.metadata.name: source.spec.hostnames for source in cache.store().list("HTTPRoute")}


@pytest.mark.parametrize("streams", [True, False])
async def test_what_is_there_is_known_and_what_changes_follows(api, following, streams):
    api.streams = streams
    await api.put(ROUTES, "a", **route())
    await api.put(ROUTES, "b", "other", **route())
    async with following("HTTPRoute") as cache:
        assert names(cache) == ["a", "b"]
        await api.put(ROUTES, "c", **route())
        await cache.changed()
        assert names(cache) == ["a", "b", "c"]
        await api.put(ROUTES, "a", **route("b.example.com"))
        await cache.changed()
        assert hostnames(cache)["a"] == ["b.example.com"]
        await api.delete(ROUTES, "b", "other")
        await cache.changed()
        assert names(cache) == ["a", "c"]
    assert bool(api.asked("GET", ROUTES)[0].get("watch")) is True
    assert len([query for query in api.asked("GET", ROUTES) if "watch" not in query]) == (not streams)


async def test_a_long_list_comes_in_pages(api, following, monkeypatch):
    monkeypatch.setattr(reflector, "PAGE", 2)
    api.streams = False
    for name in "abcde":
        await api.put(ROUTES, name, **route())
    async with following("HTTPRoute") as cache:
        assert names(cache) == list("abcde")
    assert [query.get("continue") for query in api.asked("GET", ROUTES) if "limit" in query] == [None, "2", "4"]


async def test_a_watch_that_was_cut_goes_on_from_where_it_stood(api, following):
    await api.put(ROUTES, "a", **route())
    async with following("HTTPRoute") as cache:
        stood = api.asked("GET", ROUTES)
        await api.cut()
        await api.put(ROUTES, "b", **route())
        await cache.changed()
        assert names(cache) == ["a", "b"]
        again = api.asked("GET", ROUTES)[len(stood) :]
        assert [query.get("resourceVersion") for query in again] == ["101"]


async def test_a_version_that_is_too_old_is_a_list_and_what_it_lacks_is_gone(api, following):
    await api.put(ROUTES, "a", **route())
    await api.put(ROUTES, "b", **route())
    async with following("HTTPRoute") as cache:
        api._objects[ROUTES].pop(("default", "a"))  # unseen
        await api.put(ROUTES, "c", **route())
        await cache.changed()
        cache.store()
        await api.cut(forget=True)
        await cache.changed()
        assert names(cache) == ["b", "c"]


async def test_while_an_api_server_fails_what_was_known_stays_and_is_said_to_be_stale(api, following, until):
    await api.put(ROUTES, "a", **route())
    async with following("HTTPRoute") as cache:
        api.faults = [(ROUTES, 500, {"reason": "InternalError"}) for _ in range(3)]
        await api.cut()
        await until(lambda: "HTTPRoute" in cache.stale)
        assert "InternalError on purpose" in cache.stale["HTTPRoute"]
        assert names(cache) == ["a"]
        await api.put(ROUTES, "b", **route())
        await cache.changed()
        assert names(cache) == ["a", "b"]
        assert cache.stale == {}


async def test_a_server_that_asks_for_patience_gets_it(api, following, monkeypatch):
    slept = []
    sleep = asyncio.sleep
    monkeypatch.setattr(reflector.asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))
    api.faults = [(ROUTES, 429, {"reason": "TooManyRequests", "Retry-After": "7"})]
    async with following("HTTPRoute"):
        assert slept[0] == 7.0


async def test_nobody_is_given_patience_for_ever(api, following, monkeypatch):
    slept = []
    sleep = asyncio.sleep
    monkeypatch.setattr(reflector.asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))
    api.faults = [(ROUTES, 429, {"reason": "TooManyRequests", "Retry-After": "86400"})]
    async with following("HTTPRoute"):
        assert slept[0] == reflector.PATIENCE


async def test_a_list_that_expires_while_it_is_read_is_begun_again_after_a_while(api, following, monkeypatch):
    slept = []
    sleep = asyncio.sleep
    monkeypatch.setattr(reflector.asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))
    monkeypatch.setattr(reflector, "LAST_DELAY", 100.0)
    api.faults = [(ROUTES, 410, {"reason": "Expired"}) for _ in range(4)]
    async with following("HTTPRoute"):
        assert [reflector.FIRST_DELAY * 2**n >= seconds > 0 for n, seconds in enumerate(slept)] == [True] * 4


async def test_a_watch_that_cannot_go_on_from_where_it_stands_begins_anew(api, following, until):
    await api.put(ROUTES, "a", **route())
    async with following("HTTPRoute") as cache:
        api.faults = [(ROUTES, 500, {"reason": "InternalError"}) for _ in range(6)]
        await api.cut()
        await until(lambda: len(api.asked("GET", ROUTES)) == 8)
        resumed = ["sendInitialEvents" not in query for query in api.asked("GET", ROUTES)]
        assert resumed == [False, *[True] * 6, False]
        await until(lambda: not cache.stale)
        assert names(cache) == ["a"]


async def test_a_watch_that_is_accepted_again_is_no_longer_stale_though_nothing_changes(api, following, until):
    async with following("HTTPRoute") as cache:
        api.faults = [(ROUTES, 503, {"reason": "ServiceUnavailable"})]
        await api.cut()
        await until(lambda: cache.stale)
        await until(lambda: not cache.stale)


def test_a_kind_is_stale_while_one_of_its_namespaces_is():
    cache = Cache([("HTTPRoute", "a"), ("HTTPRoute", "b")])
    cache.fail(("HTTPRoute", "a"), "refused")
    cache.fresh(("HTTPRoute", "b"))
    assert cache.stale == {"HTTPRoute": "refused"}


async def test_without_the_right_a_kind_has_no_objects_and_holds_nothing_up(api, following, until):
    await api.put(ROUTES, "a", **route())
    await api.put(GATEWAYS, "gw", spec={"gatewayClassName": "fastgate", **LISTENERS})
    api.faults = refusals(reflector.REFUSALS + 1)
    async with following("HTTPRoute", "Gateway") as cache:
        assert len(cache.store().list("Gateway")) == 1
        await until(lambda: names(cache) == ["a"])  # once somebody gives it


async def test_a_server_that_knows_of_no_right_yet_is_waited_for(api, following):
    """It has just started: to serve nothing, because nothing may be read, would end what workers serve."""
    await api.put(ROUTES, "a", **route())
    api.faults = refusals(reflector.REFUSALS)
    async with following("HTTPRoute") as cache:
        assert names(cache) == ["a"]


async def test_grants_are_none_once_the_right_to_them_is_gone(api, following, until):
    grants = ROUTES.replace("httproutes", "referencegrants")
    spec = {"from": [{"group": "", "kind": "A", "namespace": "b"}], "to": [{"group": "", "kind": "Secret"}]}
    await api.put(grants, "grant", spec=spec)
    await api.put(ROUTES, "a", **route())
    async with following("ReferenceGrant", "HTTPRoute") as cache:
        assert cache.store().list("ReferenceGrant")
        api.faults = [(path, 403, {}) for path in (grants, ROUTES) for _ in range(1000)]
        await api.cut()
        await until(lambda: not cache.store().list("ReferenceGrant"))
        await until(lambda: "HTTPRoute" in cache.stale)
        assert names(cache) == ["a"]


async def test_what_a_restored_server_lists_counts_although_its_versions_are_lower(api, following, until):
    await api.put(ROUTES, "a", **route("new.example.com"))
    async with following("HTTPRoute") as cache:
        api._version = 1
        api.faults = [(ROUTES, 504, {"reason": "Timeout"})]
        await api.put(ROUTES, "a", **route("old.example.com"))
        await api.cut(forget=True)
        await until(lambda: hostnames(cache) == {"a": ["old.example.com"]})


async def test_a_missing_right_is_told_by_verb_and_resource(api, following, until):
    api.faults = [(ROUTES, 403, {"reason": "Forbidden"})]
    said = []

    def listen(cache):
        fail = cache.fail
        cache.fail = lambda scope, reason, **more: said.append(reason) or fail(scope, reason, **more)

    async with following("HTTPRoute", before=listen):
        assert said == [
            "no right to watch httproutes.gateway.networking.k8s.io in all namespaces: Forbidden on purpose"
        ]


async def test_what_a_kind_has_is_known_once_it_was_listed_and_not_for_want_of_a_right(
    api, following, until, monkeypatch
):
    monkeypatch.setattr(reflector, "LOOK_AGAIN", 0.01)
    api.faults += refusals(1000)
    async with following("HTTPRoute") as cache:
        assert not cache.is_read("HTTPRoute", "default")
        api.faults.clear()
        await cache.changed()  # though there is none
        assert cache.is_read("HTTPRoute", "default")
        api.faults += refusals(1000)
        await api.cut()
        await until(lambda: cache.stale)
        assert cache.is_read("HTTPRoute", "default")
        api.faults.clear()
        api.served = set()
        await api.cut()
        await until(lambda: cache.missing)
        assert not cache.is_read("HTTPRoute", "default")


def test_what_one_namespace_has_says_nothing_of_another():
    cache = Cache([("Gateway", "a"), ("Gateway", "b")])
    cache.replace(("Gateway", "a"), {})
    assert cache.is_read("Gateway", "a")
    assert not cache.is_read("Gateway", "b")


async def test_a_kind_that_is_not_there_is_found_when_it_appears(api, following, until, monkeypatch):
    monkeypatch.setattr(reflector, "LOOK_AGAIN", 60.0)
    api.served = set()
    async with following("HTTPRoute") as cache:
        assert cache.missing == {"HTTPRoute"}
        api.served = {ROUTES}
        await api.put(ROUTES, "a", **route())
        cache.reflectors[0].look()
        await until(lambda: names(cache) == ["a"])
        assert cache.missing == set()
        api.served = set()
        await api.cut(forget=True)
        await until(lambda: cache.missing == {"HTTPRoute"})
        assert names(cache) == []


async def test_an_older_version_of_a_kind_is_taken_where_there_is_no_better(api, following):
    older = ROUTES.replace("/v1/", "/v1beta1/")
    api.served = {older}
    await api.put(older, "a", **route())
    async with following("HTTPRoute") as cache:
        assert names(cache) == ["a"]
        assert cache.stored(("HTTPRoute", "default", "a")).api_version == "gateway.networking.k8s.io/v1beta1"


async def test_a_malformed_object_stays_as_it_was_and_harms_no_other(api, following, caplog):
    await api.put(ROUTES, "a", **route())
    async with following("HTTPRoute") as cache:
        await api.put(ROUTES, "a", spec={"hostnames": 5})
        await api.send(ROUTES, b"no JSON\n")
        await api.send(ROUTES, b'{"type": "ADDED", "object": 5}\n')
        await api.put(ROUTES, "new", spec={"hostnames": {}})
        await api.put(ROUTES, "b", **route())
        await cache.changed()
        assert hostnames(cache) == {"a": ["a.example.com"], "b": ["a.example.com"]}
    assert "HTTPRoute/default/a is malformed and stays as it was" in caplog.text
    assert "HTTPRoute/default/new is malformed:" in caplog.text


@pytest.mark.parametrize("streams", [True, False])
async def test_a_list_that_is_not_readable_as_a_whole_implies_no_deletion(api, following, until, caplog, streams):
    api.streams = streams
    for name in "ab":
        await api.put(ROUTES, name, **route())
    async with following("HTTPRoute") as cache:
        api.get(ROUTES, "a")["metadata"] = 5
        await api.put(ROUTES, "c", **route())
        await cache.changed()
        await api.cut(forget=True)
        await until(lambda: "malformed and skipped" in caplog.text)
        await api.put(ROUTES, "d", **route())
        await until(lambda: names(cache) == ["a", "b", "c", "d"])


async def test_a_first_list_with_an_unreadable_object_has_the_others(api, following):
    api.streams = False
    for name in "ab":
        await api.put(ROUTES, name, **route())
    api.get(ROUTES, "a")["metadata"] = 5
    async with following("HTTPRoute") as cache:
        assert names(cache) == ["b"]


async def test_fields_that_are_null_or_unknown_are_none(api, following):
    await api.put(ROUTES, "a", spec={"hostnames": None, "parentRefs": None, "rules": None, "later": {"x": 1}})
    async with following("HTTPRoute") as cache:
        assert cache.store().get("HTTPRoute", "default", "a").spec.hostnames is None


async def test_an_enormous_object_is_an_object(api, following):
    await api.put(ROUTES, "a", **route(), status={"x": "y" * (5 << 20)})
    async with following("HTTPRoute") as cache:
        assert len(cache.stored(("HTTPRoute", "default", "a")).status) > 5 << 20


async def test_a_status_and_a_version_are_no_news(api, following, until):
    await api.put(ROUTES, "a", **route())
    async with following("HTTPRoute") as cache:
        before = cache.store()
        await api.put(ROUTES, "a", status={"parents": []})
        await until(lambda: cache.stored(("HTTPRoute", "default", "a")).status == b'{"parents": []}')
        assert cache.store() is before


async def test_one_namespace_of_many(api, following):
    await api.put(ROUTES.replace("/httproutes", "/httproutes"), "a", "mine", **route())
    async with following("HTTPRoute", namespace="mine"):
        pass
    assert all("/namespaces/mine/httproutes" in path for _, path, _ in api.requests)


class Renewed:
    """A credential that is refused once."""

    def __init__(self):
        self.current = "old"

    async def identity(self):
        return Identity(self.current)

    def refuse(self, identity):
        self.current = "new"


async def test_a_credential_that_was_refused_is_renewed(api):
    api.token = "new"
    async with Client(Config(api.url, Renewed())) as client:
        assert await client.request("list", "GET", ROUTES)
    assert len(api.requests) == 2


async def test_one_that_stays_refused_is_an_error(api):
    api.token = "another"
    async with Client(Config(api.url, Renewed())) as client:
        with pytest.raises(ApiError) as caught:
            await client.request("list", "GET", ROUTES)
    assert (caught.value.status, caught.value.reason) == (401, "Unauthorized")


async def test_no_answer_at_all_is_an_error_without_a_status():
    async with Client(Config("http://127.0.0.1:9", Renewed())) as client:
        with pytest.raises(ApiError) as caught:
            await client.request("list", "GET", ROUTES)
    assert caught.value.status == 0


def test_an_older_version_of_an_object_is_no_news():
    cache, key = Cache([]), ("HTTPRoute", "default", "a")
    cache.keep(key, Stored("newer", "12"))
    cache.keep(key, Stored("older", "9"))
    assert cache.stored(key).resource == "newer"
