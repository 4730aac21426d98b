"""Call records as the engine writes them (csrc/fg_call.h), for runners of filters without an engine."""

from __future__ import annotations

import json
import struct
import time

from fastgate.core import filters, snapshot

FIXED = struct.Struct("<IIQIIQQBBHHHQQQ")
PARTS = (
    "fields", "response_fields", "request_edits", "response_edits", "trailers", "response_trailers", "endpoints", "members",
    "body",
)  # fmt: skip
REF = struct.Struct("<II")
FIELD = struct.Struct("<IIIHBB")  # csrc/fg_http1.h
KIND = 0x314C4146
MORE = 1
TEXTS = {
    "method": "GET", "scheme": "http", "authority": "a.example", "path": "/", "raw_path": "/", "client_address": "10.0.0.1",
    "route": "HTTPRoute/default/r", "rule": "0", "id": "01234567-89ab-cdef-0123-456789abcdef",
}  # fmt: skip


def prepared(kind: str, *, deny: bool = True) -> int:
    """Make the runner of this process know a stage of one inline filter; its key."""
    spec = json.dumps([{"name": "ns/f", "type": kind, "config": "{}", "deny": deny, "timeout": 1000}])
    filters.inline().prepare(0, snapshot.key(spec), spec.encode())
    return snapshot.key(spec)


def request(stage: int, *fields: tuple[str, str], exchange: int = 1, more: bool = False, **texts: str) -> bytes:
    """The call of a request's head; `texts` by the names of csrc/fg_call.h, as bytes in Latin-1."""
    refs = dict.fromkeys([*filters.TEXTS, *PARTS], (0, 0))
    at = FIXED.size + REF.size * len(refs)
    behind = bytearray()

    def put(text: str) -> tuple[int, int]:
        behind.extend(text.encode("latin-1"))
        return at + len(behind) - len(text), len(text)

    for name, text in {**TEXTS, **texts}.items():
        refs[name] = put(text)
    placed = [(put(name), put(value)) for name, value in fields]
    behind.extend(bytes(-(at + len(behind)) % 8))
    refs["fields"] = at + len(behind), len(placed)
    for (name, name_len), (value, value_len) in placed:
        behind.extend(FIELD.pack(name, value, value_len, name_len, 0, 0))
    deadline = time.monotonic_ns() + 60 * 10**9
    size = at + len(behind)
    head = FIXED.pack(size, KIND, exchange, 1, 0, stage, deadline, 0, MORE * more, 0, 4242, 0, 0, 0, 0)
    return head + b"".join(REF.pack(*ref) for ref in refs.values()) + behind


def end(stage: int, *, exchange: int = 1) -> bytes:
    """The call that ends an exchange."""
    refs = REF.pack(0, 0) * (len(filters.TEXTS) + len(PARTS))
    return FIXED.pack(FIXED.size + len(refs), KIND, exchange, 2, 0, stage, 0, filters.END, 0, 0, 0, 0, 0, 0, 0) + refs
