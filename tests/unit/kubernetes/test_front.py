"""The front end of a cluster beside a runtime that fails."""

from __future__ import annotations

import pytest
from api_server import GATEWAYS

from fastgate.kubernetes.addresses import Pool
from fastgate.kubernetes.front import Cluster
from fastgate.problems import Problem
from fastgate.runtime import Prepared
from fastgate.translate.mode import Mode


class Server:
    """As much of a server as a front sees."""

    def __init__(self, prepare):
        self.runtime = self
        self.prepare_store = prepare

    def reload(self):
        pass


@pytest.fixture
def cluster(client):
    return Cluster(client, mode=Mode(guarded=True), pool=Pool.parse("192.0.2.1"), namespaces=(), instance="")


async def test_what_is_translated_is_the_store_with_the_homes_of_our_gateways(api, cluster):
    await api.put(
        "/apis/gateway.networking.k8s.io/v1/gatewayclasses", "c", "", spec={"controllerName": Mode().controller}
    )
    await api.put(
        GATEWAYS, "gw", spec={"gatewayClassName": "c", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]}
    )
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
