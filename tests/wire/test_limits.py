"""Limits of memory and connections: what is over them waits or is told so, and what is under them goes on."""

import socket
from dataclasses import replace

from wire import TIMEOUT, Conn, config, fields

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_over_the_memory_limit_new_requests_get_503(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)}, memory_limit=20_000)
    first, second = proxy.connect(), proxy.connect()
    first.send(GET)
    up = backend.accept()
    up.head()
    second.send(GET)
    assert second.head().startswith(b"HTTP/1.1 503")
    assert proxy.log()["reason"] == "overloaded"
    up.send(OK)
    assert first.head().startswith(b"HTTP/1.1 200")


def test_over_the_endpoints_limit_requests_get_503(proxies, backend):
    proxy = proxies(config(limits={"upstream_connections": 1}), {"c": (backend.endpoint,)})
    first, second = proxy.connect(), proxy.connect()
    first.send(GET)
    up = backend.accept()
    up.head()
    second.send(GET)
    assert second.head().startswith(b"HTTP/1.1 503")
    assert proxy.log()["reason"] == "upstream_limit"
    up.send(OK)
    assert first.head().startswith(b"HTTP/1.1 200")


def test_over_the_sockets_limit_connections_wait_their_turn(proxies, backend):
    proxy = proxies(config(limits={"connections": 1}), {"c": (backend.endpoint,)})
    first, second = proxy.connect(), proxy.connect()
    first.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    second.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    up = backend.accept()
    assert up.head().startswith(b"GET /1 ")
    up.send(OK)
    first.head()
    assert proxy.counter("connections_open") == 1
    first.close()
    assert up.head().startswith(b"GET /2 ")
    up.send(OK)
    assert second.head().startswith(b"HTTP/1.1 200")


def test_a_full_socket_does_not_hold_up_another(proxies, backend):
    full = config(limits={"connections": 1})
    other = replace(config().sockets[0], port=81)
    proxy = proxies(replace(full, sockets=(*full.sockets, other)), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    first, _waits = (_open(proxy, 80) for _ in range(2))
    first.send(GET)
    assert first.head().startswith(b"HTTP/1.1 200")
    proxy.wait_for(lambda: proxy.counter("accept_errors") >= 2)  # the one that waits is looked at again and again
    before = proxy.counter("accept_errors")
    for _ in range(60):
        client = _open(proxy, 81)
        client.send(GET)
        assert client.head().startswith(b"HTTP/1.1 200")
        client.close()
    assert proxy.counter("accept_errors") - before < 30  # not one of them waited for the end of a pause


def _open(proxy, port):
    conn = Conn(socket.create_connection(proxy.manager.bound[f"127.0.0.1:{port}"], TIMEOUT))
    proxy.conns.append(conn)
    return conn


def test_many_connections_at_once(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    clients = [proxy.connect() for _ in range(200)]
    for client in clients:
        client.send(GET)
    for client in clients:
        assert fields(client.head())["content-length"] == "2"
    proxy.wait_for(lambda: proxy.counter("requests") == 200)


def test_a_stopped_reader_of_the_log_changes_no_answer(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    for _ in range(6000):  # more lines than the pipe and the ring hold
        client.send(GET)
        assert client.head().startswith(b"HTTP/1.1 200")
        client.exactly(2)
    proxy.wait_for(lambda: proxy.counter("log_dropped") + proxy.counter("log_lines") == 6000)
