"""Workers that die, stand still or kill themselves over a configuration, and what becomes of it, with real processes."""

import asyncio
import os
import resource
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fastgate import ir, supervision, tickets
from fastgate.control import Type
from fastgate.listener_manager import ApplyError
from fastgate.workers import Worker
from wire import config, forward, match, pss

pytestmark = pytest.mark.parametrize("form", ["process"], indirect=True)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def processes(proxies, backend):
    backend.answer_all(OK)

    def start(workers=1):
        return proxies(config(), {"c": (backend.endpoint,)}, workers=workers)

    return start


def status(proxy, path="/"):
    client = proxy.connect()
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    return int(client.rest().split()[1])


def elsewhere(configuration):
    """The same on another socket."""
    return ir.Ir((ir.Socket("127.0.0.1", 81, configuration.sockets[0].listeners),), configuration.clusters)


def replaced(proxy, count):
    proxy.wait_for(lambda: proxy.manager.statistics.own["workers_replaced"] == count and not proxy.manager.missing)


def listens(pid):
    """Whether a process has a listening socket of TCP."""
    lines = (
        Path(f"/proc/{pid}/net/tcp").read_text().splitlines() + Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()
    )
    listening = {
        f"socket:[{line.split()[9]}]" for line in lines[1:] if len(line.split()) > 9 and line.split()[3] == "0A"
    }
    return any(str(fd.readlink()) in listening for fd in Path(f"/proc/{pid}/fd").iterdir())


def in_background(work, *arguments):
    result = {}

    def run():
        try:
            result["value"] = work(*arguments)
        except Exception as e:  # noqa: BLE001 - it is looked at later
            result["error"] = e

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_a_configuration_that_kills_workers_is_given_up_and_the_next_one_tried(processes, backend):
    proxy = processes()
    reasons = []
    proxy.manager.on_roll_back = reasons.append
    bad, good = config(match(forward(), "/bad")), config(match(forward(), "/good"))
    proxy.apply(bad, {"c": (backend.endpoint,)})
    assert proxy.manager.generation == 2
    assert status(proxy, "/bad") == 200
    for n in range(supervision.ROLL_BACK_DEATHS):
        os.kill(proxy.manager.pids[0], signal.SIGKILL)
        replaced(proxy, n + 1)
    assert proxy.manager.generation == 3
    assert (status(proxy, "/x"), status(proxy, "/bad")) == (200, 200)  # the first one serves everything
    assert reasons == ["workers died over generation 2: the configuration before it is served again"]
    assert proxy.manager.statistics.own["roll_backs"] == 1
    for again in (bad, good):
        proxy.apply(again, {"c": (backend.endpoint,)})
        assert status(proxy, "/x") == 404
    assert (status(proxy, "/good"), proxy.manager.generation) == (200, 5)


def test_what_the_given_up_configuration_removed_is_back(processes, proxies, backend):
    one = config()
    both = ir.Ir((*one.sockets, *elsewhere(one).sockets), one.clusters)
    proxy = proxies(one, {"c": (backend.endpoint,)})
    proxy.apply(both, {"c": (backend.endpoint,)})
    proxy.apply(one, {})
    for n in range(supervision.ROLL_BACK_DEATHS):
        os.kill(proxy.manager.pids[0], signal.SIGKILL)
        replaced(proxy, n + 1)
    assert proxy.manager.bound.keys() == {"127.0.0.1:80", "127.0.0.1:81"}
    assert status(proxy) == 200  # with its endpoint


def test_a_worker_that_dies_while_it_prepares_fails_the_generation(processes, backend):
    proxy = processes(2)
    victim = proxy.manager.pids[0]
    os.kill(victim, signal.SIGSTOP)
    thread, result = in_background(proxy.apply, config(match(forward(), "/other")), {"c": (backend.endpoint,)})
    proxy.wait_for(lambda: proxy.counter("generations_live") > 1)  # its sibling has prepared it
    os.kill(victim, signal.SIGKILL)
    thread.join()
    assert isinstance(result["error"], ApplyError)
    replaced(proxy, 1)
    assert proxy.manager.generation == 1
    assert {status(proxy, "/x") for _ in range(8)} == {200}
    proxy.wait_for(lambda: proxy.counter("generations_live") == 1)


def test_a_worker_that_is_silent_is_killed_and_replaced(processes, backend):
    proxy = processes()
    os.kill(proxy.manager.pids[0], signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ApplyError, match="died while it prepared"):
        proxy.apply(config(match(forward(), "/other")), {"c": (backend.endpoint,)})
    assert 4.5 < time.monotonic() - began < 8
    replaced(proxy, 1)
    assert status(proxy) == 200


def test_a_worker_that_stands_still_is_aborted_and_replaced(processes, caplog):
    proxy = processes()
    victim = proxy.manager.pids[0]
    os.kill(victim, signal.SIGSTOP)
    proxy.wait_for(lambda: "has been stuck for 5 s and is aborted" in caplog.text)
    os.kill(victim, signal.SIGCONT)
    replaced(proxy, 1)
    assert f"killed by signal {signal.SIGABRT.value}" in caplog.text
    assert status(proxy) == 200


def test_workers_that_keep_dying_are_replaced_ever_later(processes):
    proxy = processes()
    times = []
    for n in range(4):
        began = time.monotonic()
        os.kill(proxy.manager.pids[0], signal.SIGKILL)
        replaced(proxy, n + 1)
        times.append(time.monotonic() - began)
    assert times[2] > 0.8
    assert times[3] > 1.6


def test_a_sibling_accepts_for_a_worker_that_is_away_until_it_is_back(processes, monkeypatch):
    monkeypatch.setattr(supervision, "HAND_OVER", 0.0)
    proxy = processes(2)
    sibling = proxy.manager._supervisor.live()[1]
    (key, _) = next(iter(sibling.listening))
    assert sibling.listening == {(key, 1)}
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    proxy.wait_for(lambda: sibling.listening == {(key, 0), (key, 1)})
    assert {status(proxy) for _ in range(16)} == {200}
    replaced(proxy, 1)
    assert sibling.listening == {(key, 1)}
    assert {status(proxy) for _ in range(16)} == {200}


def test_connections_that_wait_at_a_socket_that_is_removed_are_answered(proxies, backend):
    proxy = proxies(config(limits={"connections": 1}), {"c": (backend.endpoint,)})
    first = proxy.connect()
    first.send(GET)
    backend.accept().head()
    waiting = [proxy.connect() for _ in range(5)]
    for client in waiting:
        client.send(GET)
    proxy.apply(elsewhere(config()), {"c": (backend.endpoint,)})
    for client in waiting:
        assert client.head().startswith(b"HTTP/1.1 404")


def test_a_change_goes_through_its_steps_in_order(proxy, backend, monkeypatch):
    sent = []
    send = Worker.send
    monkeypatch.setattr(Worker, "send", lambda self, m, *fds: (sent.append(m.type.name), send(self, m, *fds))[1])
    moved = elsewhere(config(match(forward("d"))))
    proxy.apply(moved, {"d": (backend.endpoint,)})
    assert sent == ["ENDPOINTS", "PREPARE", "COMMIT", "LISTEN", "UNLISTEN", "ENDPOINTS"]


def test_workers_start_isolated(processes):
    proxy = processes()
    process = Path("/proc") / str(proxy.manager.pids[0])
    assert b"-P" in (process / "cmdline").read_bytes().split(b"\0")
    flags = {}
    for fd in (process / "fdinfo").iterdir():
        lines = dict(line.split(":", 1) for line in fd.read_text().splitlines() if ":" in line)
        flags[int(fd.name)] = int(lines["flags"], 8)
    assert {fd for fd, value in flags.items() if not value & os.O_CLOEXEC} <= {0, 1, 2}


def test_no_turn_of_the_loop_waits_for_an_image(proxy, backend):
    """What PREPARE does takes long for many routes, and none of it happens on the loop."""
    many = config(*(match(forward(), f"/{n}/[a-z]+", kind=ir.PathKind.REGEX) for n in range(20_000)))
    before = proxy.counter("longest_turn_ns")
    began = time.monotonic_ns()
    proxy.run(_prepare_alone(proxy, many))
    took = time.monotonic_ns() - began
    assert took > 40e6
    assert proxy.counter("longest_turn_ns") < max(before, took // 8)


async def _prepare_alone(proxy, configuration):
    await asyncio.sleep(0)
    await proxy.manager.apply(configuration, proxy.manager._publication.endpoints)


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_thousand_reloads_under_a_thousand_tunnels_leave_nothing_behind(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    tunnels = []
    for _ in range(1000):
        client = proxy.connect()
        client.send(UPGRADE)
        up = backend.accept()
        up.head()
        up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        client.head()
        tunnels.append((client, up))
    for n in range(1000):
        proxy.apply(config(match(forward(), f"/{n}"), match(forward())), {"c": (backend.endpoint,)})
        assert proxy.counter("generations_live") <= 3
        if n == 100:
            before = pss(proxy.manager.pids[0])
    assert pss(proxy.manager.pids[0]) - before < 512
    for client, up in tunnels:
        client.send(b"ping")
        assert up.exactly(4) == b"ping"
        up.send(b"pong")
        assert client.exactly(4) == b"pong"


def test_workers_that_others_replaced_accept_nothing_from_then_on(processes, backend, monkeypatch):
    proxy = processes()
    (before,) = proxy.manager.pids
    assert listens(before)
    monkeypatch.setattr(proxy.manager, "retire", lambda _: None)  # they do not even drain
    proxy.run(proxy.manager.renew(config(match(forward(), "/new")), {"c": (backend.endpoint,)}, 1))
    (after,) = proxy.manager.pids
    assert after != before
    assert listens(after)
    assert not listens(before)
    assert status(proxy, "/new") == 200


def sent_tickets(monkeypatch):
    """What workers are given from now on as keys of session tickets, with who got it."""
    found = []
    send = Worker.send

    def note(worker, message, *fds):
        if message.type is Type.TICKETS:
            found.append((worker, os.pread(fds[0], 4096, 0)))
        send(worker, message, *fds)

    monkeypatch.setattr(Worker, "send", note)
    return found


def test_all_workers_have_the_same_keys_of_tickets(processes, monkeypatch):
    found = sent_tickets(monkeypatch)
    proxy = processes(2)
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    replaced(proxy, 1)
    assert len({worker for worker, _ in found}) == 3
    assert len({keys for _, keys in found}) == 1


def test_keys_of_tickets_are_rotated_in_all_workers(processes, monkeypatch):
    found = sent_tickets(monkeypatch)
    monkeypatch.setattr(tickets, "ROTATION", 0.5)
    proxy = processes(2)
    proxy.wait_for(lambda: len(found) >= 6)
    (_, first), (_, second) = found[1:3]
    assert second[:80] == first[80:160]  # the next one has become the current one
    assert second[160:] == first[:80]
    assert {worker for worker, _ in found[2:4]} == set(proxy.manager._supervisor.live())


def test_secrets_reach_every_worker_with_the_image(processes, backend, monkeypatch):
    given = []
    send = Worker.send

    def note(worker, message, *fds):
        if message.type is Type.PREPARE:
            given.append(os.pread(fds[1], 4096, 0))
        send(worker, message, *fds)

    monkeypatch.setattr(Worker, "send", note)
    proxy = processes()
    named = replace(config(), authorities=(ir.Authorities("a" * 64, b"-- a bundle --"),))
    proxy.apply(named, {"c": (backend.endpoint,)})
    os.kill(proxy.manager.pids[0], signal.SIGKILL)
    replaced(proxy, 1)
    assert [b"-- a bundle --" in table for table in given] == [False, True, True]
    assert given[1] == given[2]
