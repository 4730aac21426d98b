"""A controller between an API server and data planes, which tests play."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from api_server import GATEWAYS, ROUTES
from data_planes import GATEWAY, Plane, quiet, until, write
from server import free_port

from fastgate.kubernetes.client import Client
from fastgate.kubernetes.config import Config
from fastgate.kubernetes.controller import Controller
from fastgate.kubernetes.credentials import Source, Standing
from fastgate.kubernetes.infrastructure.objects import Defaults
from fastgate.kubernetes.kinds import KINDS
from fastgate.remote.identities import Authority
from fastgate.translate.features import PROVISIONED_FEATURES
from fastgate.translate.mode import Mode

CLASSES = "/apis/gateway.networking.k8s.io/v1/gatewayclasses"
SECRETS, SERVICES = KINDS["Secret"].path("v1"), KINDS["Service"].path("v1")
BACKENDS = "/apis/fastgate.dev/v1alpha1/backends"


@pytest.fixture
def controlling(api):
    """Run controllers of one API server, one after the other, at one address."""
    port = free_port()
    mode = Mode(features=PROVISIONED_FEATURES, guarded=True)

    @asynccontextmanager
    async def run():
        client = Client(Config(api.url, Standing(Source())))
        address = f"127.0.0.1:{port}"
        controller = Controller(
            client, mode=mode, namespaces=(), defaults=Defaults("fastgate", address), address=address
        )
        task = asyncio.ensure_future(controller.run("127.0.0.1", port))
        try:
            await until(lambda: controller.hub is not None or task.done())
            yield controller, address
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await quiet(address)

    return run


@pytest.fixture
async def gateway(api):
    """A Gateway of ours with a route."""
    await api.put(CLASSES, "c", "", spec={"controllerName": Mode().controller})
    listener = {"name": "a", "port": 80, "protocol": "HTTP"}
    spec = {"gatewayClassName": "c", "listeners": [listener]}
    await api.put(GATEWAYS, "gw", spec=spec, metadata={"uid": "uid-of-gw"})
    await api.put(BACKENDS, "b", spec={"endpoints": [{"address": "192.0.2.1", "port": 80}]})
    await put_route(api, "/")


async def put_route(api, path):
    to = [{"group": "fastgate.dev", "kind": "Backend", "name": "b"}]
    rules = [{"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": to}]
    await api.put(ROUTES, "r", spec={"parentRefs": [{"name": "gw"}], "rules": rules})


async def give_address(api):
    """Do what a load balancer's controller does."""
    await until(lambda: api.all(SERVICES))
    metadata = {k: v for k, v in api.get(SERVICES, "gw-c")["metadata"].items() if k != "resourceVersion"}
    await api.put(SERVICES, "gw-c", status={"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}, metadata=metadata)


def plane(api, address, tmp_path):
    authority = Authority(*(stored(api, "fastgate-authority", name) for name in ("tls.crt", "tls.key")))
    return Plane(address, write(authority.data_plane(GATEWAY), tmp_path / "identity"))


def stored(api, secret, name):
    import base64  # noqa: PLC0415

    return base64.b64decode(api.get(SECRETS, secret)["data"][name])


def programmed(api):
    status = api.get(GATEWAYS, "gw").get("status", {})
    return next(
        ((c["status"], c["reason"], c["message"]) for c in status.get("conditions", ()) if c["type"] == "Programmed"),
        (None, None, None),
    )


SERVED = {":80": ""}


@pytest.mark.usefixtures("gateway")
async def test_a_gateway_is_provisioned_told_and_programmed_once_it_is_served(api, controlling, tmp_path):
    async with controlling() as (_, address):
        await until(lambda: programmed(api)[1] == "AddressNotAssigned")
        await give_address(api)
        await until(lambda: programmed(api)[0] == "Unknown")
        async with plane(api, address, tmp_path) as pod:
            await until(lambda: pod.shares)
            (socket,) = pod.shares[-1].ir.sockets
            assert (socket.key, socket.realm) == (":80", "")
            await pod.says(sockets=SERVED)
            await until(lambda: programmed(api)[0] == "True")
            assert api.get(GATEWAYS, "gw")["status"]["addresses"] == [{"type": "IPAddress", "value": "192.0.2.9"}]
            await put_route(api, "/next")
            await until(lambda: len(pod.shares) == 2)
            assert pod.shares[1].revision > pod.shares[0].revision
            await pod.says("the workers refused it", SERVED)
            await until(lambda: programmed(api)[0] == "False")
            assert programmed(api)[1:] == ("Invalid", "data plane pod: the workers refused it")
            await put_route(api, "/better")
            await until(lambda: len(pod.shares) == 3)
            await pod.says(sockets=SERVED)
            await until(lambda: programmed(api)[0] == "True")


@pytest.mark.usefixtures("gateway")
async def test_a_controller_that_is_started_again_says_nothing_else_before_it_has_heard_its_data_planes(
    api, controlling, tmp_path
):
    async with controlling() as (_, address):
        await give_address(api)
        async with plane(api, address, tmp_path) as pod:
            await until(lambda: pod.shares)
            await pod.says(sockets=SERVED)
            await until(lambda: programmed(api)[0] == "True")
    certificate = stored(api, "gw-c", "tls.crt")
    version = api.get(GATEWAYS, "gw")["metadata"]["resourceVersion"]
    async with controlling() as (controller, address):
        await until(lambda: controller.api.leader.writes() and controller.statuses.gateways)
        await put_route(api, "/next")
        async with plane(api, address, tmp_path) as pod:
            await until(lambda: pod.shares)
            await pod.says(sockets=SERVED)
            await until(lambda: controller.hub.fates(GATEWAY))
            assert api.get(GATEWAYS, "gw")["metadata"]["resourceVersion"] == version
            await pod.says(sockets={":80": "in use"})
            await until(lambda: programmed(api)[0] == "False")
    assert stored(api, "gw-c", "tls.crt") == certificate
