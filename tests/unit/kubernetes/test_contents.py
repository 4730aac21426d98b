from __future__ import annotations

import base64

from api_server import GATEWAYS

from fastgate.kubernetes.contents import Contents
from fastgate.plugins.discovery import Catalog

SECRETS, MAPS = "/api/v1/secrets", "/api/v1/configmaps"
KINDS = ("Gateway", "Secret", "ConfigMap")


def gateway(*secrets, map_=None):
    listener = {
        "name": "https",
        "port": 443,
        "protocol": "HTTPS",
        "tls": {"certificateRefs": [{"name": s} for s in secrets]},
    }
    spec = {"gatewayClassName": "fastgate", "listeners": [listener]}
    if map_:
        refs = [{"group": "", "kind": "ConfigMap", "name": map_}]
        spec["tls"] = {"frontend": {"default": {"validation": {"caCertificateRefs": refs}}}}
    return {"spec": spec}


def secret(text):
    return {"data": {"tls.crt": base64.b64encode(text.encode()).decode()}}


def read(api):
    return sorted(
        path.rpartition("/")[2] for method, path, query in api.requests if path.count("/") == 6 and method == "GET"
    )


async def test_only_what_is_referred_to_is_read_and_only_once(api, client, following):
    await api.put(GATEWAYS, "gw", **gateway("a", "missing", map_="authorities"))
    for name in "ab":
        await api.put(SECRETS, name, **secret(name))
    await api.put(MAPS, "authorities", data={"ca.crt": "PEM"})
    contents = []
    async with following(*KINDS, before=lambda cache: contents.append(Contents(client, cache, Catalog()))) as cache:
        await contents[0].settle()
        store = cache.store()
        assert [s.metadata.name for s in store.list("Secret")] == ["a"]
        assert store.get("ConfigMap", "default", "authorities").data == {"ca.crt": "PEM"}
        await contents[0].settle()
        assert read(api) == ["a", "authorities"]


async def test_what_changes_is_read_again_and_what_is_deleted_is_gone(api, client, following):
    await api.put(GATEWAYS, "gw", **gateway("a"))
    await api.put(SECRETS, "a", **secret("old"))
    await api.put(SECRETS, "b", **secret("b"))
    contents = []
    async with following(*KINDS, before=lambda cache: contents.append(Contents(client, cache, Catalog()))) as cache:
        await contents[0].settle()
        cache.store()
        await api.put(SECRETS, "a", **secret("new"))
        await cache.changed()
        await contents[0].settle()
        assert cache.store().get("Secret", "default", "a").data == secret("new")["data"]
        await api.delete(SECRETS, "a")
        await cache.changed()
        await contents[0].settle()
        assert cache.store().list("Secret") == ()


async def test_what_nothing_refers_to_any_more_is_forgotten(api, client, following):
    await api.put(GATEWAYS, "gw", **gateway("a"))
    await api.put(SECRETS, "a", **secret("a"))
    contents = []
    async with following(*KINDS, before=lambda cache: contents.append(Contents(client, cache, Catalog()))) as cache:
        await contents[0].settle()
        assert cache.store().list("Secret")
        await api.put(GATEWAYS, "gw", **gateway())
        await cache.changed()
        assert cache.store().list("Secret") == ()


async def test_what_cannot_be_read_stays_as_it_was_and_is_tried_again(api, client, following, monkeypatch, caplog):
    monkeypatch.setattr("fastgate.kubernetes.contents._AGAIN", 0.01)
    await api.put(GATEWAYS, "gw", **gateway("a"))
    await api.put(SECRETS, "a", **secret("old"))
    contents = []
    async with following(*KINDS, before=lambda cache: contents.append(Contents(client, cache, Catalog()))) as cache:
        await contents[0].settle()
        cache.store()
        api.faults = [("/secrets/a", 500, {})]
        await api.put(SECRETS, "a", **secret("new"))
        await cache.changed()
        await contents[0].settle()
        assert cache.store().get("Secret", "default", "a").data == secret("old")["data"]
        await cache.changed()
        await contents[0].settle()
        assert cache.store().get("Secret", "default", "a").data == secret("new")["data"]
    assert "b2xk" not in caplog.text  # "old", as Secrets spell it
