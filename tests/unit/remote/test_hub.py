"""Data planes come to a hub, are told what they serve, and say what came of it."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import aiohttp
import pytest
from data_planes import GATEWAY, hub_of, leads, share, until, write
from server import free_port

from fastgate.remote import hub as hubs
from fastgate.remote import identities, link, wire
from fastgate.remote.identities import Authority
from fastgate.translate.programmed import Bound

BOUND = {"127.0.0.1:80": Bound()}


async def test_a_data_plane_is_told_what_it_serves_and_what_it_says_is_known(hub, plane):
    hub, address = hub
    changed = []
    hub.on_change = changed.append
    hub.publish({GATEWAY: share(5)})
    assert hub.fates(GATEWAY) is None
    assert hub.settled(GATEWAY)
    async with plane(address) as pod:
        assert await pod.told(5) == share(5)
        assert not hub.settled(GATEWAY)
        await pod.says()
        await until(lambda: hub.settled(GATEWAY))
        assert hub.fates(GATEWAY) == BOUND
        assert not hub.refusal(GATEWAY)
        hub.publish({GATEWAY: share(6, 2)})
        assert await pod.told(6) == share(6, 2)
        await pod.says(sockets={"127.0.0.1:80": "in use"})
        await until(lambda: hub.settled(GATEWAY))
        assert hub.fates(GATEWAY) == {"127.0.0.1:80": Bound(error="in use")}
    await until(lambda: not list(hub.connected()))
    assert set(changed) == {GATEWAY}


async def test_everywhere_is_every_address_of_both_families(authority, plane):
    port = free_port()
    async with hub_of(authority, port=port, host="*") as (hub, _):
        hub.publish({GATEWAY: share(5)})
        for host in ("127.0.0.1", "[::1]"):
            async with plane(f"{host}:{port}") as pod:
                assert await pod.told(5) == share(5)


async def test_one_that_is_slow_is_told_the_newest_only(hub, plane):
    hub, address = hub
    first = share(1)
    hub.publish({GATEWAY: first})
    async with plane(address) as pod:
        await pod.told(1)
        for revision in range(2, 9):
            hub.publish({GATEWAY: share(revision, revision)})
        await pod.says()
        await pod.told(8)
        assert [each.revision for each in pod.shares] == [1, 8]
        assert pod.shares[-1] == share(8, 8)


async def test_what_a_data_plane_refuses_is_said_and_the_next_one_is_made_of_it(hub, plane):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    async with plane(address, "pod-1") as pod:
        await pod.told(1)
        await pod.says("the workers refused it")
        await until(lambda: hub.refusal(GATEWAY))
        assert hub.refusal(GATEWAY) == "data plane pod-1: the workers refused it"
        hub.publish({GATEWAY: share(2, 2)})
        assert not hub.refusal(GATEWAY)
        assert await pod.told(2) == share(2, 2)
        await pod.says()
        await until(lambda: hub.settled(GATEWAY))
        assert not hub.refusal(GATEWAY)


async def test_a_socket_is_bound_when_one_says_so_and_none_denies_it_and_the_last_word_stands(hub, plane):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    async with plane(address, "one") as one:
        await one.told(1)
        await one.says()
        async with plane(address, "two") as two:
            await two.told(1)
            assert hub.fates(GATEWAY) == BOUND
            await two.says(sockets={"127.0.0.1:80": "in use"})
            await until(lambda: hub.fates(GATEWAY) != BOUND)
        await until(lambda: hub.fates(GATEWAY) == BOUND)
    await until(lambda: not list(hub.connected()))
    assert hub.fates(GATEWAY) == BOUND
    assert hub.settled(GATEWAY)


async def test_one_that_does_not_report_is_late_and_not_waited_for(hub, plane, monkeypatch):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    async with plane(address) as pod:
        await pod.told(1)
        assert not hub.settled(GATEWAY)
        monkeypatch.setattr(hubs, "LATE", -1.0)
        assert hub.settled(GATEWAY)


async def test_each_gateways_data_planes_are_told_of_that_one_only(hub, plane):
    hub, address = hub
    hub.publish({GATEWAY: share(1), ("other", "gw"): share(2, 2)})
    async with (
        plane(address, "a") as a,
        plane(address, "b", ("other", "gw")) as b,
        plane(address, "c", ("no", "gw")) as c,
    ):
        assert await a.told(1) == share(1)
        assert await b.told(2) == share(2, 2)
        await until(lambda: len(list(hub.connected())) == 3)
        assert not c.shares
        hub.publish({GATEWAY: share(3), ("other", "gw"): share(2, 2)})
        assert len(a.shares) == len(b.shares) == 1


async def test_a_data_plane_goes_to_the_replica_that_leads(authority, plane):
    elsewhere = None
    async with hub_of(authority) as (leader, there), hub_of(authority, lambda: elsewhere) as (_, here):
        leader.publish({GATEWAY: share(1)})
        async with plane(here) as pod:
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await refused(here, pod.link._identity)
            elsewhere = there
            assert await pod.told(1) == share(1)
            leader.resign()
            await pod.says()
            await until(lambda: len(pod.shares) == 2)


async def test_what_is_older_than_what_is_served_waits(hub, plane, monkeypatch):
    hub, address = hub
    hub.publish({GATEWAY: share(3)})
    pod = plane(address)
    pod.link.served = 4
    async with pod:
        await until(lambda: [each for each in hub.connected() if each.has.revision == 3])
        assert not pod.shares
        assert hub.fates(GATEWAY) is None
        hub.publish({GATEWAY: share(5, 2)})
        assert await pod.told(5) == share(5, 2)
    monkeypatch.setattr(link, "HELD", 0.01)
    again = plane(address, "again")
    again.link.served = 9
    async with again:
        await again.told(5)
        await again.says()
        await until(lambda: again.link.served == 5 and hub.settled(GATEWAY))


async def refused(address, identity):
    """Try to connect as a data plane does."""
    context = identities.asking(identities.Identity.read(identity))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"https://{address}{wire.PATH}", ssl=context, server_hostname=wire.SERVER_NAME) as socket,
    ):
        await socket.send_bytes(wire.encode(wire.Hello(wire.PROTOCOL, "", "x")))
        return await socket.receive()


@pytest.mark.parametrize("who", ["of another authority", "a controller's", "of no Gateway"])
async def test_who_has_no_certificate_of_a_gateway_is_not_taken(hub, authority, tmp_path, who):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    identity = {
        "of another authority": replace(Authority.new().data_plane(GATEWAY), authority=authority.certificate),
        "a controller's": authority.controller(),
        "of no Gateway": authority.data_plane(("", "")),
    }[who]
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await refused(address, write(identity, tmp_path / "identity"))
    assert not list(hub.connected())


async def test_a_controller_of_another_authority_and_a_data_plane_that_poses_as_one_are_not_believed(
    authority, tmp_path, plane, caplog
):
    async with hub_of(Authority.new()) as (false, address), plane(address) as pod:
        false.publish({GATEWAY: share(1)})
        await until(lambda: "certificate verify failed" in caplog.text)
        assert not pod.shares
    poser = Authority(authority.certificate, authority.key)
    poser.controller = lambda: authority.data_plane(GATEWAY)
    caplog.clear()
    async with hub_of(poser) as (false, address), plane(address) as pod:
        false.publish({GATEWAY: share(1)})
        await until(lambda: "certificate verify failed" in caplog.text)
        assert not pod.shares


async def test_a_connection_ends_with_its_certificate(hub, plane, monkeypatch, caplog):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    monkeypatch.setattr(hubs, "_seconds_left", lambda _: 0.05)
    async with plane(address) as pod:
        await pod.told(1)
        await until(lambda: len(pod.shares) > 1)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"\xc1", "malformed"),
        (wire.encode(wire.Report(1)), "does not begin with a Hello"),
        (wire.encode(wire.Hello(2, "9.9", "new")), "protocol 2"),
        ("text", "not binary"),
    ],
    ids=["garbage", "report", "protocol", "text"],
)
async def test_who_says_what_nobody_understands_is_dismissed(hub, authority, tmp_path, sent, said, caplog):
    hub, address = hub
    context = identities.asking(authority.data_plane(GATEWAY))
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"https://{address}{wire.PATH}", ssl=context, server_hostname=wire.SERVER_NAME) as socket,
    ):
        await (socket.send_str(sent) if isinstance(sent, str) else socket.send_bytes(sent))
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.PROTOCOL_ERROR
    await until(lambda: said in caplog.text)


async def test_a_report_on_what_was_not_sent_ends_the_connection(hub, plane, caplog):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    async with plane(address) as pod:
        await pod.told(1)
        await pod.link._send(wire.Report(7))
        await until(lambda: "which it was not sent" in caplog.text)
        await until(lambda: len(pod.shares) == 2)


async def test_an_update_that_does_not_fit_is_followed_by_a_whole_one(hub, plane, monkeypatch, caplog):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    right = hubs.difference
    monkeypatch.setattr(
        hubs,
        "difference",
        lambda before, after: right(before, after) if before.revision == 0 else wire.Update(after.revision, 99),
    )
    async with plane(address) as pod:
        await pod.told(1)
        await pod.says()
        await until(lambda: hub.settled(GATEWAY))
        hub.publish({GATEWAY: share(2, 2)})
        assert await pod.told(2) == share(2, 2)
    assert "does not fit" in caplog.text


async def test_data_planes_at_one_point_are_sent_the_same_bytes(hub, plane, monkeypatch):
    hub, address = hub
    made = []
    right = hubs.difference
    monkeypatch.setattr(hubs, "difference", lambda *both: made.append(both) or right(*both))
    hub.publish({GATEWAY: share(1)})
    async with plane(address, "a") as a, plane(address, "b") as b:
        for pod in (a, b):
            await pod.told(1)
            await pod.says()
        await until(lambda: hub.settled(GATEWAY))
        hub.publish({GATEWAY: share(2, 2)})
        await asyncio.gather(a.told(2), b.told(2))
    assert len(made) == 2


async def test_a_gateway_that_is_gone_is_forgotten_with_its_last_data_plane(hub, plane):
    hub, address = hub
    hub.publish({GATEWAY: share(1)})
    async with plane(address) as pod:
        await pod.told(1)
        await pod.says()
        await until(lambda: hub.fates(GATEWAY))
        hub.publish({})
        assert hub.fates(GATEWAY)
    await until(lambda: not hub._gateways)


async def test_an_address_that_is_taken_is_said(hub, authority):
    _, address = hub
    port = int(address.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        async with hub_of(authority, leads, port):
            pass


async def test_a_share_of_many_routes_travels_whole(hub, plane):
    hub, address = hub
    many = share(1)
    (socket,) = many.ir.sockets
    (listener,) = socket.listeners
    hosts = tuple(replace(listener.hosts[0], hostname=f"{at:05}.example.com") for at in range(5000))
    ir = replace(many.ir, sockets=(replace(socket, listeners=(replace(listener, hosts=hosts),)),))
    hub.publish({GATEWAY: replace(many, ir=ir)})
    async with plane(address) as pod:
        assert (await pod.told(1)).ir == ir


async def test_a_fault_of_our_own_ends_the_connection_and_is_logged(hub, plane, monkeypatch, caplog):
    hub, address = hub
    right = hubs.difference
    monkeypatch.setattr(hubs, "difference", lambda *_: 1 / 0)
    hub.publish({GATEWAY: share(1)})
    async with plane(address) as pod:
        await until(lambda: "ZeroDivisionError" in caplog.text)
        monkeypatch.setattr(hubs, "difference", right)
        await pod.told(1)


async def test_what_a_data_plane_says_of_itself_later_is_known(hub, plane):
    hub, address = hub
    async with plane(address) as pod:
        await until(lambda: list(hub.connected()))
        pod.link._hello = lambda revision: wire.Hello(wire.PROTOCOL, "0.1", "pod", revision, {"Stamp": "hash"})
        await pod.link.greet()
        await until(lambda: [each.hello.filters for each in hub.connected()] == [{"Stamp": "hash"}])
