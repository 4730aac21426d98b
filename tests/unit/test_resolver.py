"""Names of endpoints: how long addresses hold, what failures change, and that nothing waits for a silent name server."""

import asyncio
import contextlib

import dns.asyncresolver
import dns.message
import dns.rcode
import dns.rrset
import pytest

from fastgate import resolver as subject
from fastgate.dns import UnresolvedError, look_up
from fastgate.ir import Endpoint
from fastgate.resolver import Resolver

NAMES = {"c": (Endpoint("app.example", 80),)}
TIMEOUT = 10.0


class Zone:
    """A look-up whose answers a test sets: addresses, an error, or None for silence."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0
        self.was_asked = asyncio.Event()

    async def asks(self, times):
        """Wait until it is asked so many times more."""
        for _ in range(times):
            self.was_asked.clear()
            await asyncio.wait_for(self.was_asked.wait(), TIMEOUT)

    async def __call__(self, _):
        self.asked += 1
        self.was_asked.set()
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, 0.0


def addresses(resolver):
    return [e.address for e in resolver.table(NAMES)["c"]]


@pytest.fixture
def hasty(monkeypatch):
    """Look-ups are due at once."""
    for name in ("FLOOR", "RETRY", "PATIENCE"):
        monkeypatch.setattr(subject, name, 0.01)


@contextlib.asynccontextmanager
async def following(resolver):
    changes = resolver.changes()
    yield lambda: asyncio.wait_for(anext(changes), TIMEOUT)
    await changes.aclose()


async def test_a_change_is_told_when_the_time_is_over(hasty):
    zone = Zone(("10.0.0.1",))
    resolver = Resolver(zone)
    assert [e.address for e in (await resolver.resolve(NAMES))["c"]] == ["10.0.0.1"]
    async with following(resolver) as change:
        await change()
        zone.answer = ("10.0.0.2", "10.0.0.3")
        await change()
        assert addresses(resolver) == ["10.0.0.2", "10.0.0.3"]


async def test_addresses_hold_for_their_time():
    zone = Zone(("10.0.0.1",))
    resolver = Resolver(zone)
    for _ in range(3):
        await resolver.resolve(NAMES)
    assert zone.asked == 1


async def test_a_silent_name_server_delays_nothing_and_is_told_later(hasty):
    zone = Zone(None)
    resolver = Resolver(zone)
    assert (await resolver.resolve(NAMES))["c"] == ()
    resolver.keep({})
    zone.answer = ("10.0.0.1",)
    await resolver.resolve(NAMES)
    async with following(resolver) as change:
        await change()
    assert addresses(resolver) == ["10.0.0.1"]


async def test_a_failure_keeps_the_last_addresses(hasty):
    zone = Zone(("10.0.0.1",))
    resolver = Resolver(zone)
    await resolver.resolve(NAMES)
    async with following(resolver) as change:
        await change()
        zone.answer = UnresolvedError("no answer")
        waiting = asyncio.ensure_future(change())
        await zone.asks(2)
        assert addresses(resolver) == ["10.0.0.1"]
        zone.answer = ("10.0.0.9",)
        await waiting
        assert addresses(resolver) == ["10.0.0.9"]


async def test_a_name_that_is_gone_loses_its_addresses_after_a_while(hasty, monkeypatch):
    zone = Zone(("10.0.0.1",))
    resolver = Resolver(zone)
    await resolver.resolve(NAMES)
    async with following(resolver) as change:
        await change()
        zone.answer = UnresolvedError("NXDOMAIN", there_is_none=True)
        monkeypatch.setattr(subject, "HOLD", 0.0)
        await change()
        assert addresses(resolver) == []


async def test_names_of_the_system_need_no_name_server():
    found, ttl = await look_up("localhost")
    assert "127.0.0.1" in found
    assert ttl > 0


class NameServer(asyncio.DatagramProtocol):
    """Answers A with two addresses of a TTL of 7 s, AAAA with one of 70 s; other names do not exist."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        query = dns.message.from_wire(data)
        question = query.question[0]
        answer = dns.message.make_response(query)
        if question.name.to_text() != "app.example.":
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 7, "IN", "A", "10.0.0.2", "10.0.0.1"))
        else:
            answer.answer.append(dns.rrset.from_text(question.name, 70, "IN", "AAAA", "fd00::1"))
        self.transport.sendto(answer.to_wire(), peer)


async def test_records_tell_how_long_they_hold():
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        assert await look_up("app.example", resolver) == (("10.0.0.1", "10.0.0.2", "fd00::1"), 7.0)
        with pytest.raises(UnresolvedError) as none:
            await look_up("other.example", resolver)
        assert none.value.there_is_none
    finally:
        transport.close()
