"""Which upstream connections are used again, and what happens when one turns out to be dead (RFC 9112 section 9)."""

import contextlib
import os
import signal
import time

import pytest

from wire import config, fields, no_descriptors

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def through(client, up, response=OK, request=GET):
    client.send(request)
    up.head()
    up.send(response)
    return client.head()


@pytest.mark.parametrize(
    ("request_field", "response_field", "pooled"),
    [
        (b"", b"WWW-Authenticate: NTLM\r\n", False),
        (b"", b"WWW-Authenticate: Basic realm=x\r\nWWW-Authenticate: negotiate\r\n", False),
        (b"", b"WWW-Authenticate: Basic realm=x, Negotiate\r\n", False),
        (b"Authorization: Negotiate YIIabc=\r\n", b"", False),
        (b"Authorization: ntlm TlRMabc=\r\n", b"", False),
        (b"Authorization: Basic ntlm=\r\n", b'WWW-Authenticate: Basic realm="ntlm"\r\n', True),
    ],
)
def test_connections_that_authenticate_are_nobody_elses(proxy, backend, request_field, response_field, pooled):
    client = proxy.connect()
    client.send(GET[:-2] + request_field + b"\r\n")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n" + response_field + b"\r\nno")
    assert "connection" not in fields(client.head())
    assert client.exactly(2) == b"no"
    if not pooled:
        assert up.rest() == b""
        up = backend.accept_after(client, GET)
    else:
        client.send(GET)
    up.head()


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [(b"timeout=0", 0, 0.4), (b"timeout=1", 0.45, 2), (b"max=5, timeout=2", 0.95, 3)],
)
def test_the_idle_time_of_a_backend_is_learned(proxy, backend, field, least, most):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    began = time.monotonic()
    up.send(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: " + field + b"\r\n\r\n"))
    client.head()
    assert up.rest() == b""
    assert least <= time.monotonic() - began < most


def test_the_idle_time_of_the_configuration_is_kept(proxies, backend):
    proxy = proxies(config(limits={"upstream_idle_timeout": 100}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    up.head()
    up.send(OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=60\r\n\r\n"))
    client.head()
    assert up.rest() == b""


EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize(
    ("request_", "response", "body"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(EVIL), b""),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
        (GET, b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(EVIL), b""),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: %d\r\n\r\n" % len(EVIL), b""),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    ],
)
def test_what_follows_a_response_is_never_an_answer(proxy, backend, request_, response, body):
    client = proxy.connect()
    client.send(request_)
    up = backend.accept()
    up.head()
    up.send(response + EVIL)
    client.head()
    assert client.exactly(len(body)) == body
    assert up.rest() == b""
    second = backend.accept_after(client, GET)
    second.head()
    second.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")
    assert client.exactly(2) == b"ok"


def test_a_204_announces_no_length(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    head = fields(through(client, backend.accept(), b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b""))
    assert "content-length" not in head


@contextlib.contextmanager
def stopped(pid):
    """Everything that is done meanwhile reaches the worker in one turn of its loop."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_body_that_comes_as_its_connection_dies_goes_to_the_next(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)}, threads=False)
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    through(client, up, OK, b"")
    client.exactly(2)
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    up.head()
    with stopped(proxy.manager.pids[0]):
        up.reset()
        client.send(b"x" * 100000)
    second = backend.accept()
    second.head()
    assert second.exactly(100000) == b"x" * 100000
    second.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_a_put_whose_body_began_is_not_sent_again(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    through(client, up, OK, b"")
    client.exactly(2)
    client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
    up.until(b"ab")
    up.reset()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.counter("upstream_not_retried") == 1
    assert proxy.counter("upstream_retries") == 0


def test_a_response_that_began_is_not_asked_for_again(proxy, backend):
    client = proxy.connect()
    client.send(GET)
    up = backend.accept()
    through(client, up, OK, b"")
    client.exactly(2)
    client.send(GET)
    up.head()
    up.send(b"HTTP/1.1 2")
    up.close()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.counter("upstream_retries") == 0


def test_without_descriptors_accepting_pauses_and_resumes(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)}, threads=False)
    with no_descriptors(proxy.manager.pids[0]):
        client = proxy.connect()
        client.send(GET)
        proxy.wait_for(lambda: proxy.counter("accept_errors") >= 2)
        turns = proxy.counter("turns")
        proxy.wait_for(lambda: proxy.counter("accept_errors") >= 4)
        assert proxy.counter("turns") - turns < 100  # it waits, it does not spin
    up = backend.accept()
    through(client, up, OK, b"")
    assert proxy.counter("connections_accepted") == 1


def test_without_descriptors_requests_get_503_and_no_endpoint_is_blamed(proxies, backend):
    proxy = proxies(config(), {"c": (backend.endpoint,)}, threads=False)
    client = proxy.connect()
    proxy.wait_for(lambda: proxy.counter("connections_open") == 1)
    with no_descriptors(proxy.manager.pids[0]):
        for _ in range(5):
            client.send(GET)
            head = client.head()
            assert head.startswith(b"HTTP/1.1 503")
            client.exactly(int(fields(head)["content-length"]))
            assert proxy.log()["reason"] == "overloaded"
    assert proxy.counter("upstream_ejections") == proxy.counter("upstream_connect_errors") == 0
    client.send(GET)
    through(client, backend.accept(), OK, b"")
