"""`fastgate dataplane` as a Pod runs it, and the hub of a controller that comes, goes and lags."""

from __future__ import annotations

import asyncio
import threading
from http.server import ThreadingHTTPServer

import pytest
from data_planes import GATEWAY, hub_of, quiet, share, until, write
from server import Echo, Server, free_port

from fastgate.ir import Endpoint, Endpoints
from fastgate.remote.identities import Authority
from fastgate.remote.share import Share
from fastgate.translate.programmed import Bound


@pytest.fixture
def backend():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def authority():
    return Authority.new()


@pytest.fixture
async def data_plane(tmp_path, authority):
    """Start data planes of one identity, one after the other."""
    identity = write(authority.data_plane(GATEWAY), tmp_path / "identity")
    started, addresses = [], set()

    def start(address, after=None):
        addresses.add(address)
        server = Server(
            "--controller", address, "--identity", identity, "--state", tmp_path / "state", "--workers", "1",
            verb="dataplane", log=tmp_path / "access.log", runtime=tmp_path, after=after,
        )  # fmt: skip
        started.append(server)
        return server

    yield start
    for server in started:
        server.kill()
    for address in addresses:
        await quiet(address)


async def served(server, status=200):
    """Wait until a request is answered so."""
    await asyncio.to_thread(server.wait, lambda: server.get("/x")[0] == status)


async def test_what_the_controller_says_is_served_and_stays_when_it_is_gone(authority, data_plane, backend):
    port = free_port()
    async with hub_of(authority, port=port, outlived=True) as (hub, address):
        hub.publish({GATEWAY: share(1, backend)})
        server = data_plane(address)
        await asyncio.to_thread(server.ready)
        await until(lambda: hub.settled(GATEWAY) and hub.fates(GATEWAY))
        assert hub.fates(GATEWAY) == {"127.0.0.1:80": Bound()}
        assert server.get("/x") == (200, "/x")
        none = Endpoints({"Backend/default/b": (Endpoint("127.0.0.1", free_port()),)})
        hub.publish({GATEWAY: Share(2, share(1).ir, none)})
        await served(server, 502)
        hub.publish({GATEWAY: share(3, backend)})
        await served(server)
    assert (await asyncio.to_thread(server.get, "/x"))[0] == 200
    async with hub_of(authority, port=port, outlived=True) as (hub, _):
        hub.publish({GATEWAY: share(4, backend)})
        await until(lambda: hub.settled(GATEWAY) and hub.fates(GATEWAY))
        assert [plane.hello.revision for plane in hub.connected()] == [3]
    code, _ = await asyncio.to_thread(server.stop)
    assert code == 0


async def test_a_data_plane_that_is_started_again_without_a_controller_serves_what_it_did(
    authority, data_plane, backend
):
    async with hub_of(authority, outlived=True) as (hub, address):
        hub.publish({GATEWAY: share(6, free_port())})
        first = data_plane(address)
        await asyncio.to_thread(first.ready)
        await until(lambda: hub.settled(GATEWAY) and hub.fates(GATEWAY))
        hub.publish({GATEWAY: Share(7, share(6).ir, share(7, backend).endpoints)})  # the endpoints alone are others
        await until(lambda: [each.report.revision for each in hub.connected()] == [7])
    code, _ = await asyncio.to_thread(first.stop)
    assert code == 0
    second = data_plane(address, after=first)
    await asyncio.to_thread(second.ready)
    assert second.get("/x") == (200, "/x")
    assert "revision 7 was served last" in second.text


async def test_a_replica_that_lags_is_not_followed(authority, data_plane, backend):
    port = free_port()
    async with hub_of(authority, port=port, outlived=True) as (hub, address):
        hub.publish({GATEWAY: share(9, backend)})
        server = data_plane(address)
        await asyncio.to_thread(server.ready)
    async with hub_of(authority, port=port, outlived=True) as (hub, _):
        hub.publish({GATEWAY: share(8, free_port())})
        await until(lambda: [plane for plane in hub.connected() if plane.has.revision == 8])
        assert (await asyncio.to_thread(server.get, "/x"))[0] == 200
        assert "revision 8 is older than revision 9" in server.text


async def test_a_port_that_is_taken_is_reported_and_again_when_it_is_free(authority, data_plane, backend):
    async with hub_of(authority, outlived=True) as (hub, address):
        server = data_plane(address)
        with ThreadingHTTPServer(("127.0.0.1", server.port), Echo):
            hub.publish({GATEWAY: share(1, backend)})
            await until(lambda: hub.fates(GATEWAY))
            assert "another process" in hub.fates(GATEWAY)["127.0.0.1:80"].error
        await until(lambda: hub.fates(GATEWAY) == {"127.0.0.1:80": Bound()})
        await served(server)


async def test_without_an_identity_it_says_so_and_goes_on_trying(data_plane, tmp_path):
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (tmp_path / "identity" / name).unlink()
    server = data_plane(f"127.0.0.1:{free_port()}")
    await asyncio.to_thread(server.wait, lambda: "No such file" in server.text)
    await asyncio.to_thread(server.wait, lambda: server.admin_page("/readyz")[0] == 503)
