"""Relays of TCP: bytes, ends and resets pass in both directions as they come; connecting, balancing, limits, drains."""

import contextlib
import hashlib
import os
import socket
import struct
import threading

import pytest
from relays import config, listener, relay

from fastgate import ir
from wire import Backend

MANY = os.urandom(1 << 20)


def both(proxy, backend):
    """A client, and what it is connected with."""
    client = proxy.connect()
    return client, backend.accept()


def was_reset(conn):
    try:
        conn.sock.recv(1)
    except ConnectionResetError:
        return True
    return False


@pytest.fixture
def relays(proxies, backend):
    return proxies(config(), {"c": (backend.endpoint,)})


def test_bytes_pass_both_ways_as_they_come(relays, backend):
    client, server = both(relays, backend)
    server.send(b"220 hello\r\n")  # a server may speak first
    assert client.exactly(11) == b"220 hello\r\n"
    client.send(b"\x00\xff")
    assert server.exactly(2) == b"\x00\xff"
    server.send(b"bye")
    assert client.exactly(3) == b"bye"


def test_an_end_passes_when_everything_before_it_has(relays, backend):
    client, server = both(relays, backend)
    client.send(b"question")
    client.finish()
    assert server.rest() == b"question"
    server.send(MANY)
    server.close()
    assert client.rest() == MANY
    line = relays.log()
    assert (line["bytes_received"], line["bytes_sent"], line.get("reason")) == (8, len(MANY), None)
    assert line["protocol"] == "TCP"
    assert (line["listener"], line["route"]) == ("Gateway/ns/g/l", "TCPRoute/ns/r")
    assert line["upstream"] == f"127.0.0.1:{backend.endpoint.port}"
    assert line["client"].startswith("127.0.0.1:")
    assert line.keys() & {"method", "status", "path", "server_name", "scheme"} == set()


def test_a_server_that_ends_first_still_gets_what_the_client_has_to_say(relays, backend):
    client, server = both(relays, backend)
    server.finish()
    assert client.rest() == b""
    client.send(b"last words")
    client.finish()
    assert server.rest() == b"last words"


def test_a_reset_passes(relays, backend):
    client, server = both(relays, backend)
    client.send(b"x")
    assert server.exactly(1) == b"x"
    client.reset()
    assert was_reset(server)
    assert relays.log()["reason"] == "client_reset"
    client, server = both(relays, backend)
    server.send(b"x")
    assert client.exactly(1) == b"x"
    server.reset()
    assert was_reset(client)
    assert relays.log()["reason"] == "upstream_reset"


@pytest.mark.parametrize("chunk", [1000, 65536, 1 << 20])
def test_much_passes_both_ways_at_once(relays, backend, chunk):
    """Through buffers at first, spliced then."""
    client, server = both(relays, backend)
    total, digests = min(32 << 20, 8192 * chunk), {}

    def pour(conn):
        for at in range(0, total, chunk):
            start = at % len(MANY)
            conn.send((MANY[start:] + MANY[:start])[: min(chunk, total - at)])
        conn.finish()

    def drink(conn, name):
        got, n = hashlib.sha256(), 0
        while data := conn.sock.recv(1 << 18):
            got.update(data)
            n += len(data)
        digests[name] = (n, got.hexdigest())

    threads = [threading.Thread(target=pour, args=(conn,)) for conn in (client, server)]
    threads += [threading.Thread(target=drink, args=(conn, name)) for conn, name in ((client, "c"), (server, "s"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = hashlib.sha256()
    for at in range(0, total, chunk):
        start = at % len(MANY)
        expected.update((MANY[start:] + MANY[:start])[: min(chunk, total - at)])
    assert digests == {"c": (total, expected.hexdigest()), "s": (total, expected.hexdigest())}
    line = relays.log()
    assert (line["bytes_received"], line["bytes_sent"]) == (total, total)


def test_who_does_not_read_holds_up_who_sends(relays, backend):
    client, server = both(relays, backend)
    server.sock.setblocking(False)
    sent, quiet = 0, 0
    while quiet < 3:
        try:
            sent += server.sock.send(MANY)
            quiet = 0
        except BlockingIOError:
            before = relays.counter("turns")
            relays.wait_for(lambda before=before: relays.counter("turns") > before)
            quiet += 1
    assert relays.counter("buffer_bytes") <= 256 * 1024
    server.sock.settimeout(10)
    server.finish()
    got = 0
    while data := client.sock.recv(1 << 20):
        got += len(data)
    assert got == sent


def test_another_endpoint_is_tried_when_one_cannot_be_connected(proxies, backend, backends):
    gone = backends(listens=False)
    proxy = proxies(config(), {"c": (gone.endpoint, backend.endpoint)})
    for _ in range(8):
        client, server = both(proxy, backend)
        client.send(b"x")
        assert server.exactly(1) == b"x"
    assert proxy.upstream_errors()["connect_failed"] == 3  # then it is ejected
    assert proxy.counter("upstream_ejected") == 1


@pytest.mark.parametrize(
    ("to", "endpoints", "reason"),
    [
        (relay("c"), {"c": ()}, "no_endpoints"),
        (relay(), {"c": ()}, "no_backends"),
        (relay(("c", 0)), {"c": ()}, "no_backends"),
        (relay((None, 1)), {"c": ()}, "invalid_backend"),
        (None, {"c": ()}, "no_route"),
        (relay("c"), "gone", "connect_failed"),
    ],
)
def test_a_connection_that_leads_nowhere_is_reset(proxies, backends, to, endpoints, reason):
    if endpoints == "gone":
        endpoints = {"c": (backends(listens=False).endpoint,)}
    proxy = proxies(config(listener("TCP", {"": to} if to else {})), endpoints)
    with contextlib.suppress(ConnectionResetError):  # so soon
        assert was_reset(proxy.connect())
    assert proxy.log()["reason"] == reason
    assert proxy.reason(reason) == 1
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)
    assert proxy.counter("upstream_open") == 0


def test_backends_are_chosen_by_weight(proxies):
    a, b = Backend(), Backend()
    clusters = tuple(ir.Cluster(name, ir.Protocol.TCP) for name in "ab")
    proxy = proxies(
        config(listener("TCP", {"": relay(("a", 3), ("b", 1))}), clusters=clusters),
        {"a": (a.endpoint,), "b": (b.endpoint,)},
    )
    for who in (a, b):
        who.answer_all(lambda _, who=who: b"a" if who is a else b"b")
    said = []
    for _ in range(16):
        client = proxy.connect()
        client.send(b"\r\n\r\n")
        said.append(client.exactly(1))
    assert (said.count(b"a"), said.count(b"b")) == (12, 4)
    a.close()
    b.close()


def test_silence_in_both_directions_ends_a_connection(proxies, backend):
    proxy = proxies(config(limits={"tunnel_idle_timeout": 300}), {"c": (backend.endpoint,)})
    client, server = both(proxy, backend)
    for _ in range(5):  # one direction is enough
        threading.Event().wait(0.1)
        server.send(b"x")
        client.exactly(1)
    assert client.rest() == b""
    assert server.rest() == b""
    line = proxy.log()
    assert line["reason"] == "relay_idle"
    assert line["duration_us"] >= 700_000


def test_reloads_leave_connections_alone(relays, backend):
    client, server = both(relays, backend)
    other = Backend()
    relays.apply(
        config(listener("TCP", {"": relay("d")}), clusters=(ir.Cluster("d", ir.Protocol.TCP),)),
        {"d": (other.endpoint,)},
    )
    client.send(b"x")
    assert server.exactly(1) == b"x"
    fresh, there = both(relays, other)
    there.send(b"y")
    assert fresh.exactly(1) == b"y"
    relays.wait_for(lambda: relays.counter("generations_live") == 1)
    other.close()


def test_a_drain_waits_for_connections_and_ends_what_is_left(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    client, server = both(proxy, backend)
    left, _ = both(proxy, backend)
    client.send(b"x")
    server.exactly(1)
    proxy.start_drain()
    server.send(b"still here")
    assert client.exactly(10) == b"still here"
    client.finish()
    server.close()
    assert client.rest() == b""
    assert left.sock.fileno() >= 0


def test_counters(relays, backend):
    client, server = both(relays, backend)
    client.send(b"abc")
    server.exactly(3)
    server.send(b"de")
    client.exactly(2)

    def series():
        return relays.manager.statistics.totals().listeners["Gateway/ns/g/l"]

    relays.wait_for(lambda: (series().received, series().sent) == (3, 2))
    assert (series().connections, series().active) == (1, 1)
    client.close()
    server.close()
    relays.wait_for(lambda: series().active == 0)
    relays.wait_for(lambda: relays.counter("upstream_open") == 0)


def test_a_thousand_connections(relays, backend):
    pairs = [both(relays, backend) for _ in range(1000)]
    for number, (client, server) in enumerate(pairs):
        client.send(str(number).encode() + b"\n")
        assert server.until(b"\n") == str(number).encode() + b"\n"
    for client, server in pairs:
        client.close()
        server.close()
    relays.wait_for(lambda: relays.counter("connections_open") == 0)
    relays.wait_for(lambda: relays.counter("buffer_bytes") == 0)


# --- PROXY protocol ------------------------------------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command, kind, body):
    return SIGNATURE + bytes([command, kind]) + struct.pack("!H", len(body)) + body


FOUR = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 4711, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + struct.pack("!HH", 4711, 443)
TLV = b"\x04\x00\x03abc"
HEADERS = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "192.0.2.7:4711"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN whatever there is\r\n", None),
    (v2(0x21, 0x11, FOUR), "192.0.2.7:4711"),
    (v2(0x21, 0x11, FOUR + TLV + TLV), "192.0.2.7:4711"),
    (v2(0x21, 0x21, SIX), "[2001:db8::7]:4711"),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, FOUR), None),
    (v2(0x21, 0x31, bytes(216)), None),  # UNIX sockets
    (v2(0x21, 0x00, b"whatever"), None),
]
WRONG = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 1\r\n",
    b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
    b"PROXY TCP4 2001:db8::7 198.51.100.1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
    b"PROXY TCP5 192.0.2.7 198.51.100.1 4711 443\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * 100,
    SIGNATURE[:-1] + b"x" + bytes(4),
    v2(0x11, 0x11, FOUR),
    v2(0x22, 0x11, FOUR),
    v2(0x21, 0x11, FOUR[:-1]),
    v2(0x21, 0x11, FOUR + TLV[:-1]),
    v2(0x21, 0x11, FOUR + b"\x04\x00"),
    SIGNATURE + b"\x21\x11\xff\xff",
]
BEHIND = ir.Settings(proxy_protocol=True)


@pytest.mark.parametrize(("header", "client"), HEADERS)
@pytest.mark.parametrize("piece", [1, 1000])
def test_who_the_client_is_comes_with_a_proxys_connection(proxies, backend, header, client, piece):
    proxy = proxies(config(settings=BEHIND), {"c": (backend.endpoint,)})
    conn = proxy.connect()
    for at in range(0, len(header), piece):
        conn.send(header[at : at + piece])
    conn.send(b"hello")
    server = backend.accept()
    assert server.exactly(5) == b"hello"
    conn.close()
    server.close()
    line = proxy.log()
    if client:
        assert line["client"] == client
    else:
        assert line["client"].startswith("127.0.0.1:")


@pytest.mark.parametrize("header", WRONG)
def test_a_connection_without_a_sound_header_is_closed(proxies, backend, header):
    proxy = proxies(config(settings=BEHIND), {"c": (backend.endpoint,)})
    conn = proxy.connect()
    conn.send(header)
    assert conn.rest() == b""
    assert proxy.reason("bad_proxy_header") == 1
    assert backend.nobody_comes(0.01)


def test_a_header_that_does_not_come_in_time(proxies, backend):
    proxy = proxies(config(settings=BEHIND, limits={"head_timeout": 100}), {"c": (backend.endpoint,)})
    conn = proxy.connect()
    conn.send(b"PROXY ")
    assert conn.rest() == b""
    assert proxy.reason("hello_timeout") == 1


def test_requests_behind_a_proxy_have_its_client(proxies, backend):
    from wire import config as http  # noqa: PLC0415 - the other one is of relays

    proxy = proxies(http(settings=BEHIND), {"c": (backend.endpoint,)})
    conn = proxy.connect()
    conn.send(HEADERS[0][0] + b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    server = backend.accept()
    assert b"x-forwarded-for: 192.0.2.7\r\n" in server.head()
    server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert conn.head().startswith(b"HTTP/1.1 204")
    assert b"x-forwarded-for: 192.0.2.7\r\n" in server.head()


@pytest.mark.parametrize(
    ("version", "header"),
    [
        (1, lambda me, it: f"PROXY TCP4 127.0.0.1 127.0.0.1 {me} {it}\r\n".encode()),
        (2, lambda me, it: v2(0x21, 0x11, socket.inet_aton("127.0.0.1") * 2 + struct.pack("!HH", me, it))),
    ],
)
def test_backends_are_told_who_the_client_is(proxies, backend, version, header):
    clusters = (ir.Cluster("c", ir.Protocol.TCP, send_proxy=version),)
    proxy = proxies(config(clusters=clusters), {"c": (backend.endpoint,)})
    client, server = both(proxy, backend)
    client.send(b"hello")
    expected = header(client.sock.getsockname()[1], proxy.port)
    assert server.exactly(len(expected) + 5) == expected + b"hello"
    client.finish()
    server.close()
    assert client.rest() == b""
    assert proxy.log()["bytes_received"] == 5
