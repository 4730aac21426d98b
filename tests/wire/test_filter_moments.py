"""What limits and faults do while a filter has the exchange: one row a fault, one column a phase of the filter.

A cell is `STATUS FATE [REASON]` as in tests/support/moments.py; with `+` in front the filter has to go on first. FATE is one of

    kept     the connection carries the next request
    closed   FIN or RST behind everything owed
    cut      the response ends in its middle

A cell that starts with `-` cannot happen, and says why.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from contextlib import suppress

import pytest
from filtered import children, fields, name_of, plugin

from fastgate import ir
from wire import config, forward, match

pytestmark = [pytest.mark.usefixtures("installed"), pytest.mark.parametrize("form", ["process"], indirect=True)]

SOON = 200  # ms: times that have to pass
PHASES = ("request", "request_body", "upstream", "response", "response_body", "local_reply")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"

# fmt: off
OFFLOADED = {
    "client RST":              ("none closed client_reset", "none closed client_reset", "none closed client_reset", "none closed client_reset", "200 cut client_reset",  "none closed client_reset"),
    "client FIN":              ("+200 closed",             "none closed client_closed", "+200 closed",             "+200 closed",              "+200 closed",           "+503 closed no_endpoints"),
    "filter late":             ("504 kept filter_timeout", "504 closed filter_timeout", "504 kept filter_timeout", "504 kept filter_timeout",  "200 cut filter_timeout", "503 kept no_endpoints"),
    "filter late, skipped":    ("200 kept",                "200 kept",                  "200 kept",                "200 kept",                 "200 kept",              "503 kept no_endpoints"),
    "plugin process dies":     ("500 kept filter_failed",  "500 closed filter_failed",  "500 kept filter_failed",  "500 kept filter_failed",   "200 cut filter_failed", "503 kept no_endpoints"),
    "timeouts.request":        ("504 kept request_timeout", "504 closed request_timeout", "504 kept request_timeout", "504 kept request_timeout", "200 cut request_timeout", "+503 kept no_endpoints"),
    "timeouts.backendRequest": ("- starts with the sending", "504 closed backend_timeout", "- starts with the sending", "504 kept backend_timeout", "200 cut backend_timeout", "- no backend"),
    "bodyMinRate, sending":    ("- nothing is to be sent", "408 closed body_timeout",   "- nothing is to be sent", "- nothing is to be sent",  "- nothing is to be sent", "- nothing is to be sent"),
    "responseTimeout":         ("- no response is due",    "+200 kept",                 "- no response is due",    "+200 kept",                "- the response came",   "- no backend"),
    "backend FIN":             ("- no connection",         "502 closed upstream_closed", "- no connection",        "+200 cut upstream_closed", "200 cut upstream_closed", "- no backend"),
    "configuration changes":   ("+200 kept",               "+200 kept",                 "+200 kept",               "+200 kept",                "+200 kept",             "+503 kept no_endpoints"),
    "drain":                   ("+200 closed",             "+200 closed",               "+200 closed",             "+200 closed",              "+200 closed",           "+503 closed no_endpoints"),
    "drain timeout":           ("503 closed drain_timeout", "503 closed drain_timeout", "503 closed drain_timeout", "503 closed drain_timeout", "200 cut drain_timeout", "503 closed drain_timeout"),
}
INLINE = {  # its worker stands still meanwhile: what happens is seen when the filter has gone on
    "client RST":              ("+none closed client_reset", "+none closed client_reset", "+none closed client_reset", "+200 cut client_reset", "+200 cut client_reset", "+503 closed no_endpoints"),
    "client FIN":              ("+200 closed",             "+none closed client_closed", "+200 closed",            "+200 closed",              "+200 closed",           "+503 closed no_endpoints"),
    "timeouts.request":        ("+504 kept request_timeout", "+504 closed request_timeout", "+504 kept request_timeout", "+200 kept",          "+200 cut request_timeout", "+503 kept no_endpoints"),
    "backend FIN":             ("- no connection",         "+502 closed upstream_closed", "- no connection",       "+200 cut upstream_closed", "+200 cut upstream_closed", "- no backend"),
    "configuration changes":   ("+200 kept",               "+200 kept",                 "+200 kept",               "+200 kept",                "+200 kept",             "+503 kept no_endpoints"),
}
# fmt: on
LIMITS = {"bodyMinRate, sending": {"body_rate_window": SOON}, "responseTimeout": {"response_timeout": SOON}}
RULES = {"timeouts.request": {"request_timeout": SOON}, "timeouts.backendRequest": {"backend_timeout": SOON}}
FILTERS = {"filter late": {"timeout": SOON}, "filter late, skipped": {"timeout": SOON, "deny": False}}


def cells(table):
    return [
        pytest.param(fault, phase, text, id=f"{fault}-{phase}")
        for fault, row in table.items()
        for phase, text in zip(PHASES, row, strict=True)
        if not text.startswith("-")
    ]


class Scene:
    """An exchange that a filter has, and both its ends."""

    def __init__(self, proxies, backend, fault, phase, fifo, *, inline):
        os.mkfifo(fifo)
        self.fault, self.phase, self.backend = fault, phase, backend
        self.endpoints = {"c": () if phase == "local_reply" else (backend.endpoint,)}
        kind = "Blocks" if inline else "Waits"
        options = FILTERS.get(fault, {})
        self.rule = forward(
            filters=ir.Filters(plugins=(plugin(kind, inline, phases=(phase,), file=str(fifo), **options),)),
            **RULES.get(fault, {}),
        )
        self.proxy = proxies(
            config(match(self.rule, "/held"), match(forward(index=1)), limits=LIMITS.get(fault)), self.endpoints
        )
        self.port = self.proxy.port
        self.inline = inline
        self.client = self.proxy.connect()
        self.up = None
        body = b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc"
        self.client.send(body if phase == "request_body" else b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        if phase in ("request_body", "response", "response_body"):
            self.up = backend.accept()
            self.up.head()
        if phase in ("response", "response_body"):
            self.up.send(OK + b"abc")
        self.hold = fifo.open("wb")  # which waits until the filter is called
        self.proxy.wait_for(lambda: inline or self.proxy.counter("filter_calls") > 0)

    def go_on(self):
        """The filter does, and everybody behind it; later calls of it do not wait."""
        self.hold.close()

    def finish(self):
        """The exchange goes on to its end, in which the client sees a status."""
        if self.phase == "request_body" and self.fault != "client FIN":
            self.client.send(b"def")
        if self.phase in ("request", "upstream"):
            self.up = self.backend.accept()
            self.up.head()
        if self.phase == "request_body":
            self.up.until(b"0\r\n\r\n")
        if self.phase != "local_reply":
            self.up.send(b"def" if self.phase in ("response", "response_body") else OK + b"abcdef")
        return self.receive()

    def receive(self):
        """The status of a whole response."""
        head = self.client.head()
        named = dict(fields(head))
        if named.get("transfer-encoding") == "chunked":
            self.client.until(b"0\r\n\r\n")
        else:
            self.client.exactly(int(named["content-length"]))
        return int(head[9:12])

    def listens(self):
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False


# --- one function for each fault: it happens now ---------------------------------------------------------------------------


def in_time(_scene):
    """Nothing is done: a time passes."""


def a_time_passes(s):
    assert s.backend.nobody_comes(2.5 * SOON / 1000)


def client_reset(s):
    s.client.reset()


def client_fin(s):
    s.client.finish()


def plugin_process_dies(s):
    beside = [pid for pid in children() if name_of(pid) == "fastgate-plugin"]
    os.kill(beside[0], signal.SIGKILL)


def backend_fin(s):
    s.up.close()


def configuration_changes(s):
    changed = config(match(forward(index=2), "/never"), match(s.rule, "/held"), match(forward(index=1)))
    if not s.inline:
        s.proxy.apply(changed, s.endpoints)
        return
    applying = threading.Thread(target=s.proxy.apply, args=(changed, s.endpoints))  # which waits for the worker
    applying.start()
    s.go_on()
    applying.join()


def drain(s):
    s.proxy.start_drain()
    s.proxy.wait_for(lambda: not s.listens())


def drain_for_a_moment(s):
    async def start():
        s.proxy.draining = asyncio.ensure_future(s.proxy.manager.drain(0, SOON / 1000))

    s.proxy.run(start())


ACTIONS = {
    "responseTimeout": a_time_passes,
    "client RST": client_reset,
    "client FIN": client_fin,
    "plugin process dies": plugin_process_dies,
    "backend FIN": backend_fin,
    "configuration changes": configuration_changes,
    "drain": drain,
    "drain timeout": drain_for_a_moment,
}


def check(s, text):
    status, fate, *reason = text.removeprefix("+").split()
    if text.startswith("+"):
        if s.inline and s.fault.startswith("timeouts"):
            a_time_passes(s)
        s.go_on()
    if fate == "cut" and s.fault != "client RST":
        assert s.client.head().startswith(b"HTTP/1.1 200")
        rest = s.client.rest()
        assert b"abcdef" not in rest
        assert b"0\r\n\r\n" not in rest
    elif s.fault != "client RST" and status != "none":
        assert (s.finish() if status == "200" else s.receive()) == int(status)
    line = s.proxy.log()
    assert (line["status"], line.get("reason", "")) == (0 if status == "none" else int(status), "".join(reason))
    if fate == "kept":
        s.backend.answer_all(OK + b"abcdef")
        s.client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert s.receive() == (503 if s.phase == "local_reply" else 200)
    elif s.fault != "client RST":
        assert s.client.rest() == b""
    if not s.fault.startswith("drain"):
        s.proxy.wait_for(lambda: s.proxy.counter("connections_open") == (fate == "kept"))
        assert s.proxy.counter("filter_waiting") == 0


def case(proxies, backend, tmp_path, fault, phase, text, *, inline):
    scene = Scene(proxies, backend, fault, phase, tmp_path / "fifo", inline=inline)
    ACTIONS.get(fault, in_time)(scene)
    try:
        check(scene, text)
    finally:
        scene.go_on()


@pytest.mark.parametrize(("fault", "phase", "text"), cells(OFFLOADED))
def test_offloaded(proxies, backend, tmp_path, fault, phase, text):
    case(proxies, backend, tmp_path, fault, phase, text, inline=False)


@pytest.mark.parametrize(("fault", "phase", "text"), cells(INLINE))
def test_inline(proxies, backend, tmp_path, fault, phase, text):
    case(proxies, backend, tmp_path, fault, phase, text, inline=True)
