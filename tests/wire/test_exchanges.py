"""Exchanges that do not go straight: interim responses, tunnels, retries, times and limits."""

import contextlib
import re
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fastgate import ir
from fastgate.api.fastgate import LOG_COLUMNS
from wire import Backend, config, fields, forward, match

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"


def exchange(client, up):
    client.send(GET)
    up.head()
    up.send(OK)
    client.head()
    assert client.exactly(2) == b"ok"


def test_continue_comes_from_the_backend(proxy, backend):
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    up = backend.accept()
    assert fields(up.head())["expect"] == "100-continue"
    up.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 100")
    client.send(b"hi")
    assert up.exactly(2) == b"hi"
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_early_hints_pass(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    head = client.head()
    assert head.startswith(b"HTTP/1.1 103")
    assert fields(head)["link"] == "</a>"
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_interim_responses_are_not_for_http_1_0(proxy, backend):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_too_many_interim_responses_are_a_502(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17)
    answer = client.until(b"HTTP/1.1 502")
    assert answer.count(b"HTTP/1.1 103") <= 16
    assert proxy.log()["reason"] == "too_many_interim"


def test_websockets_are_tunnels_after_the_backends_101(proxy, backend):
    client = proxy.connect()
    client.send(UPGRADE)
    up = backend.accept()
    seen = fields(up.head())
    assert seen["upgrade"] == "websocket"
    assert seen["connection"].lower() == "upgrade"
    up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    head = client.head()
    assert head.startswith(b"HTTP/1.1 101")
    assert fields(head)["upgrade"] == "websocket"
    assert client.exactly(5) == b"hello"
    client.send(b"\x00\r\n\r\nbytes")
    assert up.exactly(10) == b"\x00\r\n\r\nbytes"[:10]
    proxy.wait_for(lambda: proxy.counter("tunnels_open") == 1)
    client.finish()
    assert up.rest() == b""
    up.send(b"bye")
    up.close()
    assert client.rest() == b"bye"
    proxy.wait_for(lambda: proxy.counter("tunnels_open") == 0)


def test_a_refused_upgrade_is_an_ordinary_response(proxy, backend):
    client = proxy.connect()
    client.send(UPGRADE)
    up = backend.accept()
    up.head()
    up.send(OK)
    client.head()
    assert client.exactly(2) == b"ok"


@pytest.mark.parametrize("answer", [b"", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"])
def test_a_101_that_was_not_asked_for_is_a_502(proxy, backend, answer):
    client = proxy.connect()
    client.send(GET if not answer else UPGRADE)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 101 Switching Protocols\r\n" + answer + b"\r\n")
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["reason"] == "unasked_upgrade"


def stale(proxy, backend, client):
    """An idle upstream connection that the backend closes on the next request's first byte."""
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(OK)
    client.head()
    client.exactly(2)
    return up


def test_a_get_on_a_stale_connection_is_sent_again(proxy, backend):
    client = proxy.connect()
    up = stale(proxy, backend, client)
    client.send(GET)
    up.head()
    up.reset()
    second = backend.accept()
    second.head()
    second.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")
    assert proxy.counter("upstream_retries") == 1
    assert proxy.upstream_errors() == {"upstream_stale": 1}


def test_a_post_on_a_stale_connection_is_a_502(proxy, backend):
    client = proxy.connect()
    up = stale(proxy, backend, client)
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    up.until(b"hi")
    up.reset()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert backend.nobody_comes()
    assert proxy.counter("upstream_not_retried") == 1
    assert proxy.upstream_errors() == {"upstream_stale": 1}


def test_a_closed_idle_connection_is_not_used(proxy, backend):
    client = proxy.connect()
    up = stale(proxy, backend, client)
    up.close()
    proxy.wait_for(lambda: proxy.counter("upstream_open") == 0)
    client.send(GET)
    second = backend.accept()
    second.head()
    second.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_an_endpoint_that_refuses_connections_is_a_502_or_tried_elsewhere(proxies, backend):
    dead = Backend()
    dead.listener.close()
    proxy = proxies(config(), {"c": (dead.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["reason"] == "connect_failed"
    assert proxy.upstream_errors() == {"connect_failed": 3}
    proxy.endpoints({"c": tuple(sorted((dead.endpoint, backend.endpoint)))})
    for _ in range(10):
        client = proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        up = backend.conns[-1] if backend.conns else backend.accept()
        up.head()
        up.send(OK)
        assert client.head().startswith(b"HTTP/1.1 200")


def test_no_endpoints_is_a_503(proxies):
    proxy = proxies(config(), {"c": ()})
    client = proxy.connect()
    client.send(GET)
    assert client.head().startswith(b"HTTP/1.1 503")
    assert proxy.log()["reason"] == "no_endpoints"


def test_a_client_that_resets_cancels_its_request(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    client.reset()
    assert up.rest() == b""
    assert proxy.log()["reason"] == "client_reset"


def test_a_client_that_half_closes_gets_its_answer(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    client.finish()
    up = backend.accept()
    up.head()
    up.send(OK)
    assert client.rest().endswith(b"ok")


@pytest.mark.parametrize(
    ("limits", "sent", "answer", "reason"),
    [
        ({"head_timeout": 100}, b"GET / HT", b"HTTP/1.1 408", "head_timeout"),
        ({"first_byte_timeout": 100}, b"", b"", None),
        ({"idle_timeout": 100}, b"", b"", None),
    ],
)
def test_times_of_clients(proxies, backend, limits, sent, answer, reason):
    proxy = proxies(config(limits=limits), {"c": (backend.endpoint,)})
    client = proxy.connect()
    if "idle_timeout" in limits:
        client.send(GET)
        up = backend.accept()
        up.head()
        up.send(OK)
        client.head()
        client.exactly(2)
    elif sent:
        client.send(sent)
    assert client.rest().startswith(answer)
    if reason:
        assert proxy.log()["reason"] == reason


def test_a_body_that_does_not_come_is_a_408_unless_its_client_waits_for_a_100(proxies, backend):
    proxy = proxies(config(limits={"body_min_rate": 1000}), {"c": (backend.endpoint,)})
    waiting = proxy.connect()
    waiting.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    up = backend.accept()
    up.head()
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx")
    assert client.head().startswith(b"HTTP/1.1 408")
    assert proxy.log()["reason"] == "body_timeout"
    up.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert waiting.head().startswith(b"HTTP/1.1 100")
    waiting.send(b"hi")
    assert up.exactly(2) == b"hi"
    up.send(OK)
    assert waiting.head().startswith(b"HTTP/1.1 200")


def test_a_final_answer_instead_of_100_ends_the_connection(proxy, backend):
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    assert fields(client.head())["connection"] == "close"
    assert client.rest() == up.rest() == b""


def test_a_100_that_nobody_waits_for_goes_no_further(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.head().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("limits", "rule", "reason"),
    [
        ({"response_timeout": 100}, {}, "response_timeout"),
        ({}, {"request_timeout": 100}, "request_timeout"),
        ({}, {"backend_timeout": 100}, "backend_timeout"),
    ],
)
def test_times_of_backends_are_504(proxies, backend, limits, rule, reason):
    proxy = proxies(config(match(forward(**rule)), limits=limits), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    assert client.head().startswith(b"HTTP/1.1 504")
    assert up.rest() == b""
    assert proxy.log()["reason"] == reason


def test_the_last_of_so_many_requests_closes(proxies, backend):
    proxy = proxies(config(limits={"keepalive_requests": 2}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = stale(proxy, backend, client)
    client.send(GET)
    up.head()
    up.send(OK)
    assert fields(client.head())["connection"] == "close"
    assert client.rest() == b"ok"


def test_ipv6(proxies):
    backend = Backend("::1")
    try:
        proxy = proxies(config(), {"c": (backend.endpoint,)})
        client = proxy.connect()
        client.send(GET)
        up = backend.accept()
        up.head()
        up.send(OK)
        client.head()
        assert proxy.log()["upstream"] == f"[::1]:{backend.endpoint.port}"
    finally:
        backend.close()


def test_no_python_runs_on_the_path(proxy, backend):
    client = proxy.connect()
    up = stale(proxy, backend, client)
    for _ in range(20):
        exchange(client, up)
    assert proxy.counter("py_enter") == 0
    assert proxy.counter("requests") == 21

    def series():
        return proxy.manager.statistics.totals().series["Gateway/ns/g/l", "HTTPRoute/ns/r"]

    proxy.wait_for(lambda: series().status_class == [0, 0, 21, 0, 0, 0])
    assert series().sent == proxy.counter("bytes_sent") > 21 * len(OK)


def test_access_log_templates(proxies, backend):
    settings = ir.Settings(
        access_log=ir.AccessLog.TEXT, access_log_format='{client_address} "{method} {target}" {status} {referer} {'
    )
    proxy = proxies(config(settings=settings), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b'GET /"x HTTP/1.1\r\nHost: a\r\n\r\n')
    up = backend.accept()
    up.head()
    up.send(OK)
    client.head()
    assert proxy.log_line() == '127.0.0.1 "GET /\\"x" 200 - {'


def test_the_columns_of_templates_are_those_of_the_engine():
    root = Path(__file__).resolve().parents[2]
    columns = re.findall(r"X\((\w+), (\d), (\d)", (root / "csrc" / "fg_log_columns.h").read_text())
    assert {name for name, _, _ in columns} == LOG_COLUMNS
    _, _, document = (root / "docs" / "configuration.md").read_text().partition("## Columns of the access log")
    assert re.findall(r"^\| `(\w+)` \| (\w*) ?\|", document, re.MULTILINE) == [
        (name, "" if text_only == "1" else ("string", "number", "object")[int(form)])
        for name, form, text_only in columns
    ]


def test_a_line_tells_where_a_request_went_and_when_it_was_answered(proxies, backend):
    rules = (replace(forward(), key="HTTPRoute/ns/r/0"), replace(forward(), key="HTTPRoute/ns/r/3"))
    proxy = proxies(config(match(rules[0], "/first"), match(rules[1])), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    client.send(b'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nB: c\r\nx-forwarded-for: "\r\n\r\n')
    client.head()
    line = proxy.log()
    assert line["local"] == f"127.0.0.1:{proxy.port}"
    assert line["scheme"] == "http"
    assert (line["route"], line["rule"]) == ("HTTPRoute/ns/r", 3)
    assert line["x_forwarded_for"] == '192.0.2.1, "'
    assert 0 < line["response_us"] <= line["duration_us"]
    client.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
    client.head()
    assert proxy.log().keys() & {"response_us", "rule", "x_forwarded_for", "upstream"} == set()


def test_a_tunnel_and_a_long_response_outlive_the_response_timeout(proxies, backend):
    proxy = proxies(config(limits={"response_timeout": 100}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(UPGRADE)
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.head()
    up.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        up.sock.recv(1)
    up.send(b"late")
    assert client.exactly(4) == b"late"


def test_a_client_that_waits_for_100_is_not_slow(proxies, backend):
    proxy = proxies(config(limits={"body_rate_window": 100}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    up = backend.accept()
    up.head()
    up.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        up.sock.recv(1)
    up.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 100")


def test_empty_lines_without_end_hold_up_nobody(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    flood = proxy.connect()
    thread = threading.Thread(target=send_for_ever, args=(flood, b"\r\n" * 32768), daemon=True)
    thread.start()
    for _ in range(20):
        client = proxy.connect()
        client.send(GET)
        assert client.head().startswith(b"HTTP/1.1 200")
    with contextlib.suppress(OSError):  # on a slow machine the first byte's time is over
        flood.sock.shutdown(socket.SHUT_RDWR)
    thread.join()


def send_for_ever(conn, data):
    with contextlib.suppress(OSError):
        while True:
            conn.send(data)
