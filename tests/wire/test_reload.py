"""Changes under traffic: generations, endpoints, sockets, drains, workers that die."""

import os
import signal
import socket

import pytest

from fastgate import ir
from fastgate.listener_manager import ApplyError
from wire import Backend, config, fields, forward, match

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"


def numbered(n):
    return config(match(forward(), f"/{n}"), match(forward()))


def test_keep_alive_connections_see_the_new_configuration(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(OK)
    client.head()
    client.exactly(2)
    proxy.apply(config(match(forward(), "/only")), {"c": (backend.endpoint,)})
    client.send(GET)
    assert client.head().startswith(b"HTTP/1.1 404")


def test_requests_in_flight_finish_on_their_configuration(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    proxy.apply(config(match(forward(), "/only")), {"c": ()})
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")
    assert client.exactly(2) == b"ok"


def test_many_reloads_with_open_tunnels_keep_few_generations(proxy, backend):
    tunnels = []
    for n in range(200):
        if n % 20 == 0:
            client = proxy.connect()
            client.send(UPGRADE)
            up = backend.accept()
            up.head()
            up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            client.head()
            tunnels.append((client, up))
        proxy.apply(numbered(n), {"c": (backend.endpoint,)})
        assert proxy.counter("generations_live") <= 3
    for client, up in tunnels:
        client.send(b"ping")
        assert up.exactly(4) == b"ping"


def test_removed_endpoints_get_nothing_new(proxies, backend):
    other = Backend()
    try:
        proxy = proxies(config(), {"c": (backend.endpoint,)})
        client = proxy.connect()
        client.send(GET)
        up = backend.accept()
        up.head()
        up.send(OK)
        client.head()
        client.exactly(2)
        proxy.endpoints({"c": (other.endpoint,)})
        assert up.rest() == b""  # its idle connections are closed
        client.send(GET)
        other.accept().head()
    finally:
        other.close()


def test_a_socket_comes_and_goes(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    both = config()
    second = ir.Socket("127.0.0.1", 81, both.sockets[0].listeners)
    proxy.apply(ir.Ir((*both.sockets, second), both.clusters), {"c": (backend.endpoint,)})
    assert proxy.manager.bound.keys() == {"127.0.0.1:80", "127.0.0.1:81"}
    port = proxy.manager.bound["127.0.0.1:81"][1]
    proxy.apply(both, {"c": (backend.endpoint,)})
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    client = proxy.connect()
    client.send(GET)
    backend.accept().head()


def test_a_pattern_that_no_worker_can_compile_changes_nothing(proxy, backend):
    bad = config(match(forward(), "(", ir.PathKind.REGEX))
    with pytest.raises(ApplyError, match="missing"):
        proxy.apply(bad, {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    backend.accept().head()


def test_an_address_that_is_taken_is_said_and_the_rest_served(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    taken = backend.endpoint.port
    both = config()
    second = ir.Socket("127.0.0.1", taken, both.sockets[0].listeners)
    proxy.apply(ir.Ir((*both.sockets, second), both.clusters), {"c": (backend.endpoint,)})
    assert "another process" in proxy.manager.fates[f"127.0.0.1:{taken}"].error
    assert proxy.manager.fates["127.0.0.1:80"].error is None


def test_drain(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    idle, busy, late = proxy.connect(), proxy.connect(), proxy.connect()
    idle.send(GET)
    up = backend.accept()
    up.head()
    up.send(OK)
    idle.head()
    idle.exactly(2)
    busy.send(GET)
    up.head()
    port = proxy.port
    proxy.start_drain()
    assert idle.rest() == b""
    up.send(OK)
    head = busy.head()
    assert fields(head)["connection"] == "close"
    assert busy.rest() == b"ok"
    assert late.rest() == b""
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_a_worker_that_is_killed_is_replaced_and_its_siblings_go_on(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)}, workers=2)
    clients = [proxy.connect() for _ in range(8)]
    ups = []
    for client in clients:
        client.send(GET)
        up = backend.accept()
        up.head()
        ups.append(up)
    proxy.wait_for(lambda: proxy.counter("requests") == 8)
    victim = proxy.manager.pids[0]
    os.kill(victim, signal.SIGKILL)
    proxy.wait_for(lambda: proxy.manager.statistics.own["workers_replaced"] == 1)
    assert victim not in proxy.manager.pids
    lost = 0
    for up in ups:
        if _ended(up):
            lost += 1
        else:
            up.send(OK)
    assert sum(_answered(client) for client in clients) == 8 - lost
    assert proxy.counter("requests") == 8  # what the dead worker counted is kept
    backend.answer_all(OK)
    for _ in range(20):
        client = proxy.connect()
        client.send(GET)
        assert client.head().startswith(b"HTTP/1.1 200")


def _ended(up):
    """Whether the other end is gone: a dead worker's connections are."""
    up.sock.settimeout(0.05)
    try:
        return up.sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    finally:
        up.sock.settimeout(10)


def _answered(client):
    try:
        client.head()
    except AssertionError:
        return False
    return client.exactly(2) == b"ok"
