"""Bodies much larger than any memory pass through a worker that holds a few buffers of them, whoever is the slower side."""

from __future__ import annotations

import os
import select
import socket
import threading

import pytest

from wire import TIMEOUT, config, pss

SIZE = 1 << 30
MOST = 8 << 10  # KiB that a worker may grow by
PART = 1 << 24
HEADS = {"upload": b"POST / HTTP/1.1\r\nHost: a\r\n", "download": b"HTTP/1.1 200 OK\r\n"}


@pytest.fixture
def zeros(tmp_path):
    """A file without blocks: what is sent of it costs nobody memory."""
    with (tmp_path / "zeros").open("w+b") as file:
        file.truncate(SIZE)
        yield file.fileno()


@pytest.fixture
def form():
    """A process of its own, whose memory can be told from the test's."""
    return "process"


class Sender(threading.Thread):
    """Sends the whole file, as fast as it is taken."""

    def __init__(self, conn, file):
        super().__init__(daemon=True)
        self.sent, self.waits, self._conn, self._file = 0, threading.Event(), conn, file
        conn.sock.setblocking(False)

    def run(self):
        while self.sent < SIZE:
            try:
                self.sent += os.sendfile(self._conn.sock.fileno(), self._file, self.sent, PART)
            except BlockingIOError:
                if not select.select([], [self._conn.sock], [], 0.2)[1]:
                    self.waits.set()  # everything between here and the reader is full
                    select.select([], [self._conn.sock], [], TIMEOUT)


def read_all(conn, memory):
    """Throw away a whole body and return the most memory that was in use meanwhile."""
    left, most, nowhere = SIZE - len(conn.buffer), 0, bytearray(PART)
    conn.sock.settimeout(TIMEOUT)
    while left:
        n = conn.sock.recv_into(nowhere, min(left, PART), socket.MSG_TRUNC)  # TCP throws it away without a copy
        assert n
        if left // (SIZE // 8) != (left - n) // (SIZE // 8):
            most = max(most, memory())
        left -= n
    return most


def test_a_gibibyte_each_way_through_a_few_buffers(proxies, backend, zeros):
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    (pid,) = proxy.manager.pids
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    up = backend.accept()
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.until(b"ok")
    before = pss(pid)
    for way, source, sink in (("upload", client, up), ("download", up, client)):
        source.send(HEADS[way] + b"Content-Length: %d\r\n\r\n" % SIZE)
        sink.head()
        sender = Sender(source, zeros)
        sender.start()
        assert sender.waits.wait(TIMEOUT)
        assert sender.sent < SIZE // 4
        assert pss(pid) - before < MOST
        assert read_all(sink, lambda: pss(pid)) - before < MOST
        sender.join()
        source.sock.settimeout(TIMEOUT)
    assert proxy.log()["status"] == proxy.log()["status"] == 200
