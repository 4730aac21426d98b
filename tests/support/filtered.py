"""Rules with the example filters of `installed/`, and what passes through them."""

from __future__ import annotations

import json
from pathlib import Path

from fastgate import ir
from wire import config, forward, match

INSTALLED = str(Path(__file__).parent / "installed")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Gone: 1\r\n\r\nhi"


PHASES = {
    "Choose": ("upstream",),
    "Edit": ("request", "response"),
    "Held": ("response",),
    "KeptPage": ("local_reply",),
    "Life": ("response", "log"),
    "Log": ("log",),
    "Mark": ("local_reply",),
    "Page": ("local_reply",),
    "Pieces": ("request_body", "response_body"),
    "Trailers": ("request_body", "response_body"),
    "Tell": ("request", "response", "log"),
}


def plugin(kind, inline=False, *, deny=True, timeout=5000, phases=None, **configuration):
    phases = frozenset(phases or PHASES.get(kind, ("request",)))
    text = json.dumps(configuration, sort_keys=True)
    return ir.Plugin(f"ns/{kind.lower()}", kind, text, timeout, deny, inline, phases, 65536 if kind == "Wrap" else 0)


def filtered(*plugins, settings=ir.Settings()):
    return config(match(forward(filters=ir.Filters(plugins=plugins))), settings=settings)


def children() -> list[int]:
    return [int(n) for task in Path("/proc/self/task").iterdir() for n in (task / "children").read_text().split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:-2]
    return [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]


def get(client, path="/", *lines):
    client.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode())


def read(client) -> tuple[bytes, bytes]:
    head = client.head()
    return head, client.exactly(int(dict(fields(head))["content-length"]))
