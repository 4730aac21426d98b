"""A manager that dies, is restarted, or hands over: its workers and their clients do not notice."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
from pathlib import Path

from load import Load
from server import GATEWAY, ROUTE, TIMEOUT, command, free_port

REQUESTS = "fastgate_requests_total"


def runs(pid):
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pidfd):
    """Wait for the end of a process."""
    try:
        return bool(select.select([pidfd], [], [], TIMEOUT)[0])
    finally:
        os.close(pidfd)


def more(load, server, requests=200):
    """Wait until that many more requests were answered."""
    enough = load.done + requests
    server.wait(lambda: load.done >= enough)


def crash(server):
    server.process.kill()
    server.process.wait()


def generation(server):
    return json.loads(server.admin_page("/status")[1])["generation"]


def test_a_killed_manager_is_succeeded_under_load(serve):
    first = serve("--workers", 2)
    workers = first.workers()
    with Load(first.port) as load:
        more(load, first)
        os.kill(workers[0], signal.SIGKILL)  # what it has counted is known to the manager alone from now on
        first.wait(lambda: first.metric("fastgate_workers_replaced_total") == 1 and len(first.workers()) == 2)
        more(load, first)
        load.failures.clear()  # the killed worker's own connections
        retries = load.retries
        workers, before = first.workers(), first.metric(REQUESTS)
        crash(first)
        for _ in range(3):
            second = serve("--workers", 2, after=first)
            assert sorted(second.workers()) == sorted(workers)
            more(load, second)
            now = second.metric(REQUESTS)
            assert now > before
            before = now
            crash(second)
        last = serve("--workers", 2, after=first)
        more(load, last)
    assert load.failures == []
    assert load.retries == retries  # not one connection was closed
    assert last.metric("fastgate_workers_replaced_total") == 1
    assert generation(last) == 5
    os.kill(workers[0], signal.SIGKILL)  # an adopted worker is replaced like any other
    last.wait(lambda: last.metric("fastgate_workers_replaced_total") == 2)
    assert last.stop()[0] == 0
    last.wait(lambda: not any(map(runs, workers)))


def test_a_successor_serves_what_changed_meanwhile(serve, tmp_path):
    first = serve("--workers", 2)
    crash(first)
    (tmp_path / "route.yaml").write_text(ROUTE % "/only")
    assert first.get("/x") == (200, "/x")  # nobody has read it
    second = serve("--workers", 2, after=first)
    assert generation(second) == 2
    assert second.get("/x")[0] == 404
    assert second.get("/only/x") == (200, "/only/x")


def test_a_successor_with_another_number_of_workers_loses_no_connection(serve):
    server = serve("--workers", 3)
    with Load(server.port) as load:
        for count in (1, 4, 2):
            more(load, server, 100)
            workers = server.workers()
            crash(server)
            server = serve("--workers", count, after=server)
            assert len(set(server.workers()) - set(workers)) == max(0, count - len(workers))
            server.wait(lambda now=server.workers(), then=workers: not any(map(runs, set(then) - set(now))))
            more(load, server, 100)
    assert load.failures == []


def test_orphans_serve_for_their_timeout_and_drain(serve):
    server = serve("--workers", 2, "--orphan-timeout", 1)
    workers = server.workers()
    crash(server)
    assert server.get("/x")[0] == 200
    assert all(map(ends, map(os.pidfd_open, workers)))
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", server.port)) != 0
    assert serve("--workers", 2, after=server).get("/x")[0] == 200


def test_an_address_is_locked_as_long_as_somebody_serves_it(serve, tmp_path):
    server = serve()

    def other(*options):
        ports = f"80={server.port},443={server.tls_port}"
        line, environment = command("run", tmp_path, "--port-map", ports, "--admin", "off", *options)
        environment["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
        run = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert run.returncode == 1
        return run.stderr

    assert f"process {server.process.pid} serves this already" in other()
    assert "another process serves this address" in other("--instance", "other")
    crash(server)
    assert "another process serves this address" in other("--instance", "other")  # orphans do
    assert server.get("/x")[0] == 200


def test_a_refused_configuration_leaves_the_workers_alone(serve, tmp_path):
    server = serve()
    workers = server.workers()
    crash(server)
    (tmp_path / "route.yaml").write_text(ROUTE % "relative")
    second = serve(after=server, until_ready=False)
    assert second.process.wait(TIMEOUT) == 1
    assert server.get("/x")[0] == 200
    (tmp_path / "route.yaml").write_text(ROUTE % "/")
    assert serve(after=server).workers() == workers


def test_the_runtime_directory_must_be_private(serve, tmp_path):
    (tmp_path / "run" / "fastgate").mkdir(mode=0o755)
    server = serve()
    server.wait(lambda: "not a directory of this user alone" in server.text)
    worker = server.workers()[0]
    assert server.get("/x")[0] == 200
    assert list((tmp_path / "run" / "fastgate").iterdir()) == []
    assert runs(worker)


def test_a_worker_of_an_unknown_version_is_drained_and_its_sockets_are_kept(serve, tmp_path):
    """A stand-in for a later release: it speaks what never changes (csrc/fg_control.h), and another version."""
    first = serve("--instance", "i", "--workers", 1)
    crash(first)
    (name,) = (tmp_path / "run" / "fastgate").glob("i.0-*.sock")
    layout = struct.Struct("=IIQQQ224s")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as real,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
    ):
        real.connect(_short(name))
        offered = []
        while not offered or layout.unpack(offered[-1][0])[0] != 74:
            data, fds, *_ = socket.recv_fds(real, layout.size, 2)
            offered.append((data, fds))
        name.unlink()
        listener.bind(_short(name.with_name("i.0-00000000.sock")))
        listener.listen()
        second = serve("--instance", "i", "--workers", 1, after=first, until_ready=False)
        listener.settimeout(TIMEOUT)
        manager, _ = listener.accept()
        for data, fds in offered:
            kind, slot, key, a, b, text = layout.unpack(data)
            socket.send_fds(manager, [layout.pack(kind, slot, key, a, 99 if kind == 64 else b, text)], fds)
        second.ready()
        manager.settimeout(TIMEOUT)
        kinds = set()
        while 8 not in kinds:  # DRAIN
            kinds.add(layout.unpack(manager.recv(layout.size))[0])
        assert kinds <= {8, 10}  # nothing that it may not understand
        for _, fds in offered:
            for fd in fds:
                os.close(fd)
        real.send(layout.pack(8, 0, 0, 0, 1000, b""))
        assert second.get("/x") == (200, "/x")
        assert len(second.workers()) == 1
        second.kill()  # first: it kills a worker that closes its end, and that is us
        manager.close()


def _short(path):
    """The path by its directory's descriptor, which stays open: unix(7) allows 107 bytes."""
    return f"/proc/self/fd/{os.open(path.parent, os.O_PATH | os.O_DIRECTORY)}/{path.name}"


# --- SIGUSR2 ---------------------------------------------------------------------------------------------------------


def successor_of(server, text="handing over to process"):
    server.wait(lambda: text in server.text)
    return int(re.findall(text + r" (\d+)", server.text)[-1])


def test_usr2_hands_over_under_load(serve):
    server = serve("--workers", 2)
    workers = server.workers()
    with Load(server.port) as load:
        more(load, server)
        before = server.metric(REQUESTS)
        server.process.send_signal(signal.SIGUSR2)
        pid = successor_of(server)
        assert server.process.wait(TIMEOUT) == 0
        more(load, server)
        assert server.admin_page("/readyz")[0] == 200
        assert server.metric(REQUESTS) > before
        assert not set(server.workers()) & set(workers)
        server.wait(lambda: not any(map(runs, workers)))
        more(load, server)
        assert server.metric(REQUESTS) > before
        assert generation(server) == 2
    assert load.failures == []
    fd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    assert ends(fd)


def test_a_successor_that_refuses_the_configuration_changes_nothing(serve, tmp_path):
    server = serve()
    workers = server.workers()
    (tmp_path / "route.yaml").write_text(ROUTE % "relative")
    server.wait(lambda: "relative" in server.admin_page("/status")[1] or "absolute" in server.admin_page("/status")[1])
    server.process.send_signal(signal.SIGUSR2)
    server.wait(lambda: "did not come up, and this one serves on" in server.text)
    assert server.workers() == workers
    assert server.get("/x")[0] == 200
    assert server.stop()[0] == 0


def test_workers_are_taken_back_from_a_successor_that_fails(serve, tmp_path, backend):
    server = serve("--workers", 2)
    workers = server.workers()
    with socket.create_server(("0.0.0.0", 0)) as taken, Load(server.port) as load:
        port = taken.getsockname()[1]
        more(load, server)
        text = (GATEWAY % backend).replace(
            "protocol: HTTP}]", f"protocol: HTTP}}, {{name: b, port: {port}, protocol: HTTP}}]"
        )
        (tmp_path / "gateway.yaml").write_text(text)
        server.wait(lambda: "another process serves" in server.admin_page("/status")[1])
        server.process.send_signal(signal.SIGUSR2)  # a first start where an address is taken fails
        server.wait(lambda: "did not come up, and this one serves on" in server.text)
        server.wait(lambda: server.admin_page("/readyz")[0] == 200)
        assert server.workers() == workers
        more(load, server)
    assert load.failures == []
    os.kill(workers[0], signal.SIGKILL)
    server.wait(lambda: server.metric("fastgate_workers_replaced_total") == 1)
    assert server.stop()[0] == 0


def test_systemd_is_told(serve, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"\0fastgate-test-{free_port()}")
        notified.settimeout(TIMEOUT)
        monkeypatch.setenv("NOTIFY_SOCKET", notified.getsockname().decode().replace("\0", "@"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")

        def next_but_watchdog():
            while (text := notified.recv(4096).decode()) == "WATCHDOG=1":
                pass
            return text

        server = serve()
        assert next_but_watchdog() == "READY=1"
        for _ in range(3):
            assert notified.recv(4096) == b"WATCHDOG=1"
        server.process.send_signal(signal.SIGHUP)
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", next_but_watchdog())
        assert next_but_watchdog() == "READY=1"
        server.process.send_signal(signal.SIGUSR2)
        pid = successor_of(server)
        assert {next_but_watchdog(), next_but_watchdog()} == {f"MAINPID={pid}", "READY=1"}
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        assert next_but_watchdog() == "STOPPING=1"
