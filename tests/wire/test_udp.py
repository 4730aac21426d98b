"""UDP from end to end: Python sockets on both sides of running workers. What a session is, is tested in tests/csrc/test_fg_udp.c."""

import os
import re
import select
import signal
import socket
import struct
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fastgate import ir
from fastgate.instance import Instance
from fastgate.sockets import BindError, bind
from wire import TIMEOUT, config, pss

KEY = "udp:127.0.0.1:80"
NAME = "Gateway/ns/g/dns"


def udp(*backends, address="127.0.0.1", limits=None, relay=True, log=ir.AccessLog.JSON, template=""):
    """A UDP listener before backends, each a cluster or (weight, cluster); by default before "c"."""
    weighted = tuple(ir.WeightedBackend(*(b if isinstance(b, tuple) else (1, b))) for b in backends or ("c",))
    names = (ir.ServerName("", ir.Relay("UDPRoute/ns/r/0", "UDPRoute/ns/r", "", weighted)),) if relay else ()
    listener = ir.Listener(NAME, "ns/g", "dns", "", "UDP", names=names)
    settings = ir.Settings(limits=replace(ir.Limits(), **limits or {}), access_log=log, access_log_format=template)
    clusters = tuple(ir.Cluster(b.cluster, ir.Protocol.UDP) for b in weighted if b.cluster)
    return ir.Ir((ir.Socket(address, 80, (listener,), settings, datagrams=True),), clusters)


def beside(first, second):
    """Both configurations, which share no cluster."""
    return ir.Ir(first.sockets + second.sockets, first.clusters + second.clusters)


class Peer:
    """A socket for datagrams, a client's or a backend's."""

    def __init__(self, host="127.0.0.1", port=0):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind((host, port))
        self.endpoint = ir.Endpoint(host, self.socket.getsockname()[1])

    def send(self, data, to):
        self.socket.sendto(data, to)

    def receive(self):
        """The next datagram, and where it came from."""
        data, source = self.socket.recvfrom(65536)
        return data, source[:2]

    def answer(self, prefix=b"re: "):
        """Answer one datagram; return it with its source."""
        data, source = self.receive()
        self.send(prefix + data, source)
        return data, source

    def nothing(self):
        """Whether nothing waits now."""
        return not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()


@pytest.fixture
def peers():
    made = []

    def make(*where):
        made.append(Peer(*where))
        return made[-1]

    yield make
    for one in made:
        one.close()


async def in_loop(call, *arguments):
    """Call something on the event loop that it belongs to."""
    call(*arguments)


def where(proxy, address="127.0.0.1", key=KEY):
    return address, proxy.manager.bound[key][1]


def counted(proxy):
    """What the listener counted, over all workers."""
    return proxy.manager.statistics.totals().listeners[NAME]


def exchange(client, backend, proxy, data=b"hello"):
    """A datagram and its answer; the session's address at the backend."""
    client.send(data, where(proxy))
    got, session = backend.answer()
    assert got == data
    assert client.receive() == (b"re: " + data, where(proxy))
    return session


def test_an_address_that_is_taken_is_said(proxies, peers):
    taken = peers()
    proxy = proxies()
    wanted = replace(udp().sockets[0], port=taken.endpoint.port)
    proxy.apply(replace(udp(), sockets=(wanted,)), {"c": (taken.endpoint,)})
    assert proxy.manager.fates[wanted.key].error == f"127.0.0.1:{wanted.port}: another process serves this address"


def test_instances_keep_off_each_other_by_protocol():
    """Another one of the same user could join the group and take half of the sources."""
    mine = bind("127.0.0.1", 0, 1, datagrams=True)
    port = mine.port
    mine.close()
    first, tcp = bind("127.0.0.1", port, 2, datagrams=True), bind("127.0.0.1", port, 2)
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
    assert counted(proxy).connections > 5_000
    assert (proxy.counter("turns") - turns) * BATCH >= counted(proxy).datagrams_received - 2
    assert pss(pid) - memory < 8 << 10
    seen = set()

    def is_known():
        regular.send(b"not forgotten", where(proxy))  # queues may still be full
        while not sink.nothing():
            seen.add(sink.receive())
        return (b"not forgotten", session) in seen

    proxy.wait_for(is_known)  # the flood took nothing from a source that is known to be there


# --- configurations ----------------------------------------------------------------------------------------------------


def test_a_backend_of_weight_0_gets_nothing(proxies, peers):
    none, all_ = peers(), peers()
    proxy = proxies(udp((0, "n"), (1, "a")), {"n": (none.endpoint,), "a": (all_.endpoint,)})
    for _ in range(20):
        exchange(peers(), all_, proxy)
    assert none.nothing()


@pytest.mark.parametrize(
    ("configuration", "endpoints"),
    [
        (udp(), {"c": ()}),
        (udp(), {}),
        (udp((0, "c")), None),
        (udp((1, None)), None),
        (udp(relay=False), None),
    ],
    ids=["no endpoints", "unknown cluster", "weight 0", "invalid backend", "no route"],
)
def test_datagrams_that_lead_nowhere_are_dropped_and_counted(proxies, peers, configuration, endpoints):
    backend, client = peers(), peers()
    proxy = proxies(configuration, {"c": (backend.endpoint,)} if endpoints is None else endpoints)
    for n in (1, 2):
        client.send(b"x", where(proxy))
        proxy.wait_for(lambda n=n: counted(proxy).datagrams_dropped == n)
    assert (counted(proxy).datagrams_received, counted(proxy).active) == (2, 0)
    proxy.apply(udp(), {"c": (backend.endpoint,)})
    exchange(client, backend, proxy)


def test_a_reload_moves_sessions_only_where_it_must(proxies, peers):
    old, new, client = peers(), peers(), peers()
    proxy = proxies(udp("o"), {"o": (old.endpoint,)})
    session = exchange(client, old, proxy)
    endpoints = {"o": (old.endpoint,), "n": (new.endpoint,)}
    proxy.apply(udp((1, "o"), (1_000_000, "n")), endpoints)
    assert exchange(client, old, proxy) == session
    exchange(peers(), new, proxy)
    client.send(b"last question", where(proxy))
    _, source = old.receive()
    proxy.apply(udp("n"), endpoints)
    old.send(b"last answer", source)
    assert client.receive()[0] == b"last answer"
    exchange(client, new, proxy)
    assert old.nothing()


def test_endpoints_that_come_and_go(proxies, peers):
    one, two, client = peers(), peers(), peers()
    proxy = proxies(udp(), {"c": (one.endpoint,)})
    session = exchange(client, one, proxy)
    proxy.endpoints({"c": (one.endpoint, two.endpoint)})
    assert exchange(client, one, proxy) == session
    proxy.endpoints({"c": (two.endpoint,)})
    exchange(client, two, proxy)


def test_a_listener_that_goes_and_comes_back(proxies, peers, backend):
    one, client = peers(), peers()
    proxy = proxies(udp(), {"c": (one.endpoint,)})
    exchange(client, one, proxy)
    port = where(proxy)[1]
    proxy.apply(config(), {"c": (backend.endpoint,)})
    assert KEY not in proxy.manager.bound
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))  # nobody has it
    proxy.apply(udp(), {"c": (one.endpoint,)})
    exchange(client, one, proxy)


# --- the ends of workers -----------------------------------------------------------------------------------------------


def test_in_a_drain_sessions_go_on_until_they_are_silent(proxies, peers):
    backend, client, late = peers(), peers(), peers()
    proxy = proxies(udp(limits={"idle_timeout": 1000}), {"c": (backend.endpoint,)})
    session = exchange(client, backend, proxy)
    to = where(proxy)
    proxy.start_drain()
    late.send(b"new", to)
    client.send(b"known", to)
    assert backend.receive() == (b"known", session)
    backend.send(b"answer", session)
    assert client.receive()[0] == b"answer"
    proxy.wait_for(lambda: counted(proxy).datagrams_dropped == 1)
    proxy.wait_for(proxy.draining.done)
    assert proxy.draining.result()
    assert backend.nothing()


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_a_worker_that_is_replaced_answers_what_was_asked_of_it(proxies, peers):
    backend, client = peers(), peers()
    configuration = udp(limits={"idle_timeout": 2000})
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    client.send(b"slow", where(proxy))
    _, before = backend.receive()
    (pid,) = proxy.manager.pids
    proxy.run(proxy.manager.renew(configuration, {"c": (backend.endpoint,)}, 10))
    for n in range(20):  # who drains takes none of them
        client.send(b"%d" % n, where(proxy))
        data, after = backend.receive()
        assert data == b"%d" % n
        assert after != before
    backend.send(b"late", before)
    assert client.receive()[0] == b"late"
    proxy.wait_for(lambda: not proxy.manager.retiring)
    proxy.wait_for(lambda: not Path(f"/proc/{pid}").exists())  # it was waited for, too


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("renew", [False, True], ids=["workers stay", "workers are replaced"])
def test_a_successor_of_the_manager_takes_sockets_over(proxies, peers, tmp_path, renew):
    backend, client = peers(), peers()
    configuration = udp()
    instance = Instance.claim("udp", tmp_path / "run")
    first = proxies(configuration, {"c": (backend.endpoint,)}, workers=2, instance=instance)
    session, to = exchange(client, backend, first), where(first)
    client.send(b"slow", to)
    assert backend.receive() == (b"slow", session)
    runners = [worker.runner for worker in first.manager._supervisor.all()]
    first.run(in_loop(first.manager.leave))
    second = proxies(configuration, {"c": (backend.endpoint,)}, workers=2, instance=instance, renew=renew)
    second.run(in_loop(second.manager.retire, 10))
    assert where(second) == to
    second.wait_for(lambda: (exchange(client, backend, second) == session) is not renew)
    for _ in range(20):
        assert (exchange(client, backend, second) == session) is not renew
    backend.send(b"late", session)
    assert client.receive()[0] == b"late"
    second.run(second.manager.stop())
    for runner in runners:  # this process is still their parent
        first.run(runner.ended())
