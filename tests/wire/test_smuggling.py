"""The smuggling collections through a running engine: what comes out is what an independent parser makes of what went in.

A backend sees of a client's bytes nothing, or the first of the requests that h11 reads in them, each well-formed and with the same
body: never one that h11 does not see. A client sees of a backend's bytes a 502, a cut, or the response that h11 reads in them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import h11
import pytest
import smuggling
from origin import Message, Origin, read

from wire import config

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GUNICORN = "gunicorn==27.0.1"


@pytest.fixture
def origin():
    started = []

    def start(answer):
        started.append(Origin(answer))
        return started[-1]

    yield start
    for one in started:
        one.close()


def talk(port: int, data: bytes) -> bytes:
    """Everything that comes back on a connection that sends these bytes and then FIN."""
    out = b""
    # an answer may be followed by a reset
    with socket.create_connection(("127.0.0.1", port), 10) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while part := sock.recv(65536):
            out += part
    return out


def parts(message: Message) -> tuple:
    method, target = message.start
    return method, re.sub(rb"^https?://[^/]*", b"", target), message.body


def hidden_framing(message: Message) -> list[bytes]:
    """Fields that a backend with CGI's names would take for framing."""
    plain = {b"content-length", b"transfer-encoding"}
    return [name for name, _ in message.headers if name not in plain and name.replace(b"_", b"-") in plain]


def check_requests(proxies, origin, payloads) -> tuple[int, int]:
    """Returns how many payloads were refused and how many requests reached the backend."""
    backend = origin(lambda _: ([OK], False))
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    refused = forwarded = 0
    for payload in payloads:
        answer = talk(proxy.port, payload)
        seen, backend.requests[:] = list(backend.requests), []
        assert not backend.errors, (payload, backend.errors)
        theirs = [parts(message) for message in read(payload).messages]
        ours = [parts(message) for message in seen]
        assert ours == theirs[: len(ours)], payload
        assert not any(hidden_framing(message) for message in seen), payload
        forwarded += len(ours)
        statuses = [message.start[0] for message in read(answer, h11.CLIENT).messages]
        assert statuses[: len(ours)] == [200] * len(ours), payload
        assert all(status >= 400 for status in statuses[len(ours) :]), payload
        refused += len(statuses) > len(ours)
    return refused, forwarded


def test_requests(proxies, origin):
    payloads = list(dict.fromkeys(smuggling.requests()))
    refused, forwarded = check_requests(proxies, origin, payloads)
    assert len(payloads) > 7000
    assert refused > 0.6 * len(payloads)
    assert forwarded > 1000


def test_responses(proxies, origin):
    payloads = list(dict.fromkeys(smuggling.responses()))

    def answer(request):
        if request.start[1] == b"/next":
            return [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"], False
        raw = payloads[int(request.start[1][1:])]
        reading = read(raw, h11.CLIENT, end=False)
        return [raw], bool(reading.error) or reading.until_close or not reading.messages

    backend = origin(answer)
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    same = refused = 0
    for n, raw in enumerate(payloads):
        first = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n
        seen = read(talk(proxy.port, first + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"), h11.CLIENT)
        theirs = read(raw, h11.CLIENT).messages
        assert len(seen.messages) <= 2, raw
        if seen.messages and seen.messages[0].start != (502,):
            (status,), body = seen.messages[0].start, seen.messages[0].body
            assert theirs, raw
            assert (status, body) == (theirs[0].start[0], theirs[0].body), raw
            same += 1
        else:
            refused += 1
        if len(seen.messages) == 2:
            assert seen.messages[1].body == b"next", raw
    assert len(payloads) > 2400
    assert same > 300
    assert refused > 0.5 * len(payloads)


# --- the requests of gunicorn's own tests ------------------------------------------------------------------------------------


@functools.cache
def gunicorn_requests() -> list[bytes]:
    """From its source distribution, which the package index has; fetched once and kept in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate" / GUNICORN
    if not list(cache.glob("*.tar.gz")):
        fetched = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
             "--no-build-isolation", "--dest", str(cache), GUNICORN],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if fetched.returncode:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
                f"{GUNICORN} cannot be fetched: {fetched.stderr}"
            )
    with tarfile.open(next(cache.glob("*.tar.gz"))) as archive:
        return [
            spelled_out(archive.extractfile(member).read())
            for member in archive.getmembers()
            if re.search(r"/tests/requests/(in)?valid/.*\.http$", member.name)
        ]


def spelled_out(text: bytes) -> bytes:
    """Its files stand for bytes: line ends are left out, escapes are what they say."""
    names = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
    return re.sub(
        rb"\\(?:x([0-9a-fA-F]{2})|([rnt0\\]))",
        lambda m: bytes([int(m[1], 16)]) if m[1] else names[m[2]],
        text.replace(b"\n", b""),
    )


def test_the_requests_of_gunicorns_tests(proxies, origin):
    payloads = gunicorn_requests()
    with_host = [re.sub(rb"\r\n", b"\r\nHost: a\r\n", payload, count=1) for payload in payloads]
    assert len(payloads) > 130
    refused, forwarded = check_requests(proxies, origin, [*payloads, *with_host])
    assert refused > 80
    assert forwarded > 40
