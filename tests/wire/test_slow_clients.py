"""slowhttptest in all its modes: slow clients hold no more than their own connections, and no longer than the limits say."""

import contextlib
import re
import shutil
import subprocess
import threading

import pytest

from wire import config, fields

GET = b"GET /normal HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + b"x" * 4194304
LIMITS = {"first_byte_timeout": 1000, "head_timeout": 1000, "body_rate_window": 1000, "idle_timeout": 1000}
CLIENTS = 40
MODES = {
    "slow headers": (["-H", "-i", "1", "-x", "24"], "head_timeout"),
    "slow body": (["-B", "-i", "1", "-s", "8192", "-x", "10"], "body_timeout"),
    "slow read": (["-X", "-w", "1", "-y", "64", "-n", "1", "-z", "5"], "client_slow"),
    "many ranges": (["-R", "-a", "5", "-b", "1000"], None),
}


def serve(backend, slow_answer):
    """Answer /normal at once, other requests with `slow_answer`, and uploads never: their bodies do not come."""

    def talk(conn):
        with contextlib.suppress(AssertionError, OSError):
            while head := conn.head():
                if head.startswith(b"POST "):
                    conn.rest()
                conn.send(OK if head.startswith(b"GET /normal ") else slow_answer)

    def listen():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(backend.accept(),), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()


@pytest.mark.skipif(shutil.which("slowhttptest") is None, reason="needs slowhttptest")
@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("mode", MODES)
def test_slow_clients_hold_their_own_connections_only(proxies, backend, mode):
    arguments, reason = MODES[mode]
    proxy = proxies(config(limits=LIMITS), {"c": (backend.endpoint,)})
    serve(backend, LARGE if mode == "slow read" else OK)
    tool = subprocess.Popen(
        ["slowhttptest", *arguments, "-c", str(CLIENTS), "-r", "100", "-l", "6", "-p", "3", "-v", "1",
         "-u", f"http://127.0.0.1:{proxy.port}/slow"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    proxy.wait_for(lambda: proxy.counter("connections_accepted") >= CLIENTS)
    answers = 0
    while tool.poll() is None:
        client = proxy.connect()
        client.send(GET)
        head = client.head()
        assert head.startswith(b"HTTP/1.1 200")
        assert fields(head)["content-length"] == "2"
        assert client.rest() == b"ok"
        answers += 1
    report = re.sub(r"\x1b\[[\d;]*m", "", tool.communicate()[0])  # without colours
    assert set(re.findall(r"service available:\s+(\w+)", report)) == {"YES"}
    assert answers  # each within TIMEOUT, while the tool held its own
    if reason:
        proxy.wait_for(lambda: proxy.reason(reason) >= CLIENTS)
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)
