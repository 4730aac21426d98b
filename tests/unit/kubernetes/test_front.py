"""The front end of a cluster beside a runtime that fails."""

from __future__ import annotations

import pytest
from api_server import GATEWAYS

from fastgate.kubernetes import front
from fastgate.kubernetes.addresses import Pool
from fastgate.kubernetes.front import Cluster
from fastgate.problems import Problem
from fastgate.runtime import Prepared, Report
from fastgate.translate import Translator
from fastgate.translate.mode import Mode
from fastgate.translate.programmed import Bound, resolve


class Server:
    """As much of a server as a front sees."""

    def __init__(self, prepare, fates=()):
        self.runtime = self.manager = self
        self.prepare_store = prepare
        self.fates = dict(fates)

    def reload(self):
        pass


@pytest.fixture
async def gateway(api):
    """One of ours, with a listener."""
    await api.put(
        "/apis/gateway.networking.k8s.io/v1/gatewayclasses", "c", "", spec={"controllerName": Mode().controller}
    )
    return await api.put(
        GATEWAYS, "gw", spec={"gatewayClassName": "c", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}
    )


@pytest.fixture
def cluster(client):
    return Cluster(client, mode=Mode(guarded=True), pool=Pool.parse("192.0.2.1"), namespaces=(), instance="")


@pytest.mark.usefixtures("gateway")
async def test_what_is_translated_is_the_store_with_the_homes_of_our_gateways(cluster):
    seen = []

    async def prepare(store, homes, mode):
        seen.append((len(store.list("Gateway")), homes["default", "gw"].bind, mode.controller))
        return Prepared(())

    await cluster.open(Server(prepare))
    try:
        await cluster.prepare()
    finally:
        await cluster.close()
    assert seen == [(1, ("192.0.2.1",), Mode().controller)]


async def test_a_fault_of_our_own_leaves_what_is_served_as_it_is(api, cluster, caplog):
    async def prepare(*_):
        raise AttributeError("a bug")

    await cluster.open(Server(prepare))
    try:
        prepared = await cluster.prepare()
    finally:
        await cluster.close()
    assert prepared == Prepared((Problem("translation failed: AttributeError"),))
    assert "a bug" in caplog.text


def conditions(api):
    status = api.get(GATEWAYS, "gw").get("status", {})
    return {each["type"]: each["status"] for each in status.get("conditions", ())}


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(("fates", "programmed"), [({}, "Unknown"), ({"192.0.2.1:80": Bound(("192.0.2.1",))}, "True")])
async def test_statuses_do_not_wait_for_an_apply_that_takes_long(api, cluster, until, monkeypatch, fates, programmed):
    monkeypatch.setattr(front, "STATUS_DELAY", 0.01)

    async def prepare(store, homes, mode):
        return Prepared((), None, Translator(mode=mode).translate(store, homes))

    await cluster.open(Server(prepare, fates))
    try:
        await cluster.prepare()
        await until(lambda: conditions(api))
    finally:
        await cluster.close()
    assert conditions(api) == {"Accepted": "True", "Programmed": programmed}


@pytest.mark.usefixtures("gateway")
async def test_statuses_of_what_is_served_in_time_are_written_once(api, cluster, until, monkeypatch):
    async def prepare(store, homes, mode):
        return Prepared((), None, Translator(mode=mode).translate(store, homes))

    server = Server(prepare, {"192.0.2.1:80": Bound(("192.0.2.1",))})
    await cluster.open(server)
    try:
        prepared = await cluster.prepare()
        assert cluster._early is not None
        statuses = resolve(prepared.translation.statuses, {"": server.fates})
        cluster.served(Report(applied=True, generation=1, problems=(), statuses=statuses), 0)
        assert cluster._early is None
        await until(lambda: conditions(api))
    finally:
        await cluster.close()
    assert conditions(api) == {"Accepted": "True", "Programmed": "True"}
