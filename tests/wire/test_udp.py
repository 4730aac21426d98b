"""UDP from end to end: Python sockets on both sides of running workers. What a session is, is tested in tests/csrc/test_fg_udp.c."""

import os
import re
import signal
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from datagrams import NAME, beside, counted, exchange, udp, where

from fastgate import ir
from fastgate.sockets import BindError, bind
from wire import TIMEOUT, config, pss


def test_an_address_that_is_taken_is_said(proxies, peers):
    taken = peers()
    proxy = proxies()
    wanted = replace(udp().sockets[0], port=taken.endpoint.port)
    proxy.apply(replace(udp(), sockets=(wanted,)), {"c": (taken.endpoint,)})
    assert proxy.manager.fates[wanted.key].error == f"127.0.0.1:{wanted.port}: another process serves this address"


def bind_both():
    """A group of UDP and one of TCP at one port, whichever others of this machine leave free."""
    while True:
        free = bind("127.0.0.1", 0, 1, datagrams=True)
        free.close()
        with suppress(BindError):
            datagrams = bind("127.0.0.1", free.port, 2, datagrams=True)
            try:
                return datagrams, bind("127.0.0.1", free.port, 2)
            except BindError:
                datagrams.close()


def test_instances_keep_off_each_other_by_protocol():
    """Another one of the same user could join the group and take half of the sources."""
    first, tcp = bind_both()
    port = first.port
    with pytest.raises(BindError, match="another process serves this address"):
        bind("127.0.0.1", port, 2, datagrams=True)
    first.close()
    tcp.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_many_sources_get_their_own_answers(proxies, peers, workers):
    backend = peers()
    proxy = proxies(udp(), {"c": (backend.endpoint,)}, workers=workers)
    clients = [peers() for _ in range(200)]
    for round_ in range(2):
        for n, client in enumerate(clients):
            client.send(b"%d of %d" % (n, round_), where(proxy))
        for _ in clients:
            backend.answer()
        for n, client in enumerate(clients):
            assert client.receive() == (b"re: %d of %d" % (n, round_), where(proxy))
            assert client.nothing()
    seen = counted(proxy)
    assert (seen.connections, seen.active) == (200, 200)
    assert (seen.datagrams_received, seen.datagrams_sent, seen.datagrams_dropped) == (400, 400, 0)
    assert seen.sent == seen.received + 400 * len("re: ")


def test_tcp_and_udp_of_one_port_are_two_sockets(proxies, peers, backend):
    backend.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    one = peers()
    both = beside(config(), udp("u"))
    proxy = proxies(both, {"c": (backend.endpoint,), "u": (one.endpoint,)})
    session = exchange(peers(), one, proxy)
    assert session[0] == "127.0.0.1"
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 200")


def test_a_question_of_dns(proxies, peers):
    """A short question, an answer many times as long: what an unknown source may be sent at first is enough for it."""
    backend, client = peers(), peers()
    proxy = proxies(udp(), {"c": (backend.endpoint,)})
    question = struct.pack(">6H", 4711, 0x0100, 1, 0, 0, 0) + b"\x07example\x03com\x00" + struct.pack(">2H", 16, 1)
    client.send(question, where(proxy))
    data, source = backend.receive()
    assert data == question
    text = (b"\xff" + b"x" * 255) * 4
    record = b"\xc0\x0c" + struct.pack(">2HIH", 16, 1, 60, len(text)) + text
    backend.send(struct.pack(">6H", 4711, 0x8180, 1, 1, 0, 0) + question[12:] + record, source)
    answer, _ = client.receive()
    assert answer.endswith(record)


@pytest.mark.parametrize(
    ("bound", "clients"),
    [
        ("", ("127.0.0.1", "127.0.0.2", "127.9.8.7", "::1")),
        ("0.0.0.0", ("127.0.0.1", "127.0.0.2")),
        ("::1", ("::1",)),
    ],
)
def test_an_answer_leaves_from_the_address_that_was_asked(proxies, peers, bound, clients):
    backend = peers()
    configuration = udp(address=bound)
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    for address in clients:
        client = peers("::1" if ":" in address else "127.0.0.1")
        asked = where(proxy, address, configuration.sockets[0].key)
        for _ in range(2):
            client.send(b"who are you?", asked)
            backend.answer()
            assert client.receive() == (b"re: who are you?", asked)


def test_backends_over_ipv6(proxies, peers):
    backend = peers("::1")
    proxy = proxies(udp(), {"c": (backend.endpoint,)})
    assert exchange(peers(), backend, proxy)[0] == "::1"


@pytest.mark.parametrize("size", [0, 1, 1472, 1473, 65507])
def test_sizes(proxies, peers, size):
    backend, client = peers(), peers()
    proxy = proxies(udp(), {"c": (backend.endpoint,)})
    exchange(client, backend, proxy)
    data = os.urandom(size)
    client.send(data, where(proxy))
    assert backend.answer(b"")[0] == data
    assert client.receive()[0] == data


def test_a_datagram_that_cannot_be_sent_on_is_dropped(proxies, peers):
    """65,507 bytes fit behind a header of IPv4, 65,527 behind one of IPv6."""
    backend, client = peers(), peers("::1")
    configuration = udp(address="::1")
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    client.send(b"x" * 65508, where(proxy, "::1", configuration.sockets[0].key))
    proxy.wait_for(lambda: counted(proxy).datagrams_dropped == 1)
    client.send(b"y", where(proxy, "::1", configuration.sockets[0].key))
    assert backend.receive()[0] == b"y"
    assert counted(proxy).active == 1


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_sources_stay_with_their_endpoints_when_a_worker_dies(proxies, peers):
    backends = [peers() for _ in range(4)]
    proxy = proxies(udp(), {"c": tuple(b.endpoint for b in backends)})
    clients = [peers() for _ in range(40)]

    def reached():
        before = counted(proxy).datagrams_received
        for n, client in enumerate(clients):
            client.send(b"%d" % n, where(proxy))
        proxy.wait_for(lambda: counted(proxy).datagrams_received == before + len(clients))
        found = {}
        for at, backend in enumerate(backends):
            while not backend.nothing():
                found[int(backend.receive()[0])] = at
        return found

    first = reached()
    assert len(first) == len(clients)
    assert set(first.values()) == {0, 1, 2, 3}
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    proxy.wait_for(lambda: proxy.manager.statistics.own["workers_replaced"] == 1 and not proxy.manager.missing)
    assert reached() == first


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_datagrams_wait_for_a_worker_that_died(proxies, peers):
    backend, client = peers(), peers()
    proxy = proxies(udp(), {"c": (backend.endpoint,)})
    exchange(client, backend, proxy)
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    client.send(b"in between", where(proxy))
    assert backend.answer()[0] == b"in between"
    assert client.receive()[0] == b"re: in between"


def test_an_icmp_error_ends_the_session_and_counts(proxies, peers):
    backend, client = peers(), peers()
    gone = backend.endpoint
    proxy = proxies(udp(), {"c": (gone,)})
    exchange(client, backend, proxy)
    backend.close()
    for n in (1, 2, 3):
        client.send(b"anybody?", where(proxy))
        proxy.wait_for(lambda n=n: proxy.reason("connect_failed") == n)
    assert counted(proxy).active == 0
    assert proxy.counter("upstream_connect_errors") == 3
    assert proxy.counter("upstream_ejected") == 1
    other = peers()
    proxy.endpoints({"c": (gone, other.endpoint)})  # only one of them may be picked
    exchange(client, other, proxy)


def test_silence_ends_a_session(proxies, peers):
    backend, client = peers(), peers()
    proxy = proxies(udp(limits={"idle_timeout": 50}), {"c": (backend.endpoint,)})
    first = exchange(client, backend, proxy)
    proxy.wait_for(lambda: counted(proxy).active == 0)
    assert proxy.reason("relay_idle") == 1
    assert exchange(client, backend, proxy) != first


@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_a_session_has_a_line_when_it_ends(proxies, peers, address):
    backend, client = peers(), peers()
    configuration = udp(address=address, limits={"idle_timeout": 50})
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    asked = where(proxy, address or "127.0.0.2", configuration.sockets[0].key)
    client.send(b"hello", asked)
    backend.answer()
    line = proxy.log()
    assert line.pop("time").endswith("Z")
    assert 0 <= line.pop("duration_us") < TIMEOUT * 1e6
    assert line == {
        "client": f"127.0.0.1:{client.endpoint.port}",
        "local": f"{asked[0]}:{asked[1]}",
        "protocol": "UDP",
        "reason": "relay_idle",
        "bytes_received": 5,
        "bytes_sent": 9,
        "listener": NAME,
        "route": "UDPRoute/ns/r",
        "upstream": f"127.0.0.1:{backend.endpoint.port}",
        "tries": 1,
    }


def test_lines_of_sessions_follow_templates(proxies, peers):
    backend, client = peers(), peers()
    for template, line in (
        ("", '127.0.0.1 - - [T] "- - UDP" - 9 "-" "-"'),
        ("{route} {upstream} {reason} {log.x}", "UDPRoute/ns/r U relay_idle -"),
    ):
        configuration = udp(limits={"idle_timeout": 50}, log=ir.AccessLog.TEXT, template=template)
        proxy = proxies(configuration, {"c": (backend.endpoint,)})
        exchange(client, backend, proxy)
        found = re.sub(r"\[.*?\]", "[T]", proxy.log_line())
        assert found.replace(f"127.0.0.1:{backend.endpoint.port}", "U") == line
    proxy = proxies(udp(limits={"idle_timeout": 50}, log=ir.AccessLog.OFF), {"c": (backend.endpoint,)})
    exchange(client, backend, proxy)
    proxy.wait_for(lambda: counted(proxy).active == 0)
    assert proxy.counter("log_lines") == 0


def test_a_full_table_forgets_who_was_silent_for_the_longest(proxies, peers):
    backend = peers()
    proxy = proxies(udp(limits={"connections": 3}), {"c": (backend.endpoint,)})
    clients = [peers() for _ in range(5)]
    sessions = [exchange(client, backend, proxy) for client in clients]
    assert counted(proxy).active == 3
    assert proxy.reason("sessions_full") == 2
    assert exchange(clients[4], backend, proxy) == sessions[4]
    assert exchange(clients[0], backend, proxy) != sessions[0]


def test_an_unknown_source_is_sent_little(proxies, peers):
    backend, client = peers(), peers()
    proxy = proxies(udp(), {"c": (backend.endpoint,)})
    client.send(b"spoofed, perhaps", where(proxy))
    _, session = backend.receive()
    for n in range(50):
        backend.send(b"%03d" % n * 300, session)
    proxy.wait_for(lambda: counted(proxy).datagrams_sent + counted(proxy).datagrams_dropped == 50)
    assert 3 * len("spoofed, perhaps") < counted(proxy).sent <= 3600 + 3 * (len("spoofed, perhaps") + 28)
    client.send(b"it is me", where(proxy))
    assert backend.receive()[0] == b"it is me"
    sent = counted(proxy).datagrams_sent
    for n in range(50):
        backend.send(b"%03d" % n * 300, session)
    proxy.wait_for(lambda: counted(proxy).datagrams_sent == sent + 50)


FLOOD = 100_000
BATCH = 64  # FG_UDP_BATCH


class Flood(threading.Thread):
    """Sends one datagram from each of FLOOD sources."""

    def __init__(self, to):
        super().__init__()
        self.to = to
        self.sent = 0

    def run(self):
        for n in range(FLOOD):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.bind((f"127.1.{n >> 8 & 255}.{n & 255}", 1024 + (n >> 16)))
                self.sent += s.sendto(b"x", self.to)


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_a_flood_of_sources_has_bounds_and_harms_nobody(proxies, peers, backend):
    """The HTTP listener of the same worker goes on: a turn of the loop takes at most one batch of datagrams."""
    backend.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    sink, regular = peers(), peers()
    proxy = proxies(
        beside(config(), udp("u", limits={"connections": 500})), {"c": (backend.endpoint,), "u": (sink.endpoint,)}
    )
    pid = proxy.manager.pids[0]
    session = exchange(regular, sink, proxy)
    regular.send(b"still here", where(proxy))
    assert sink.receive() == (b"still here", session)
    client = proxy.connect()
    memory, turns = pss(pid), proxy.counter("turns")
    flood = Flood(where(proxy))
    flood.start()
    while flood.is_alive():
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().startswith(b"HTTP/1.1 200")
        assert counted(proxy).active <= 500
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) < 600
    flood.join()
    assert flood.sent == FLOOD
    assert counted(proxy).connections > 1_000
    received = counted(proxy).datagrams_received  # before the turns: what is still queued is read between the two
    assert (proxy.counter("turns") - turns) * BATCH >= received - 2
    assert pss(pid) - memory < 8 << 10
    seen = set()

    def is_known():
        regular.send(b"not forgotten", where(proxy))  # queues may still be full
        while not sink.nothing():
            seen.add(sink.receive())
        return (b"not forgotten", session) in seen

    proxy.wait_for(is_known)  # the flood took nothing from a source that is known to be there
