"""What each limit and fault does at each moment of a request: one row a limit or fault, one column a moment.

A cell is `STATUS FATE [REASON] [+COUNTER]`:

    STATUS    what the client is answered: `none`, or the status of the last head that it sees
    FATE      kept     the connection carries the next request
              lingers  FIN after everything owed, and what the client still sends is read: no reset destroys the answer
              closed   FIN
              reset    RST
              cut      FIN or RST in the middle of the response, never a clean end of it
              waits    the connection stays in the queue of the socket until there is room
    REASON    of the access log, and the counter of reasons that goes up; without one nobody is at fault
    +COUNTER  one more counter that goes up

A cell that starts with `-` cannot happen, and says why.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields

from fastgate import ir

MOMENTS = ("before the head", "in the head", "in the body", "after the response head")

# fmt: off
TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    # limits of clients
    ("requestLine",           "- nothing came yet",               "414 lingers bad_request",         "- the line is whole",           "- the line is whole"),
    ("headBytes",             "- nothing came yet",               "431 lingers bad_request",         "- the head is whole",           "- the head is whole"),
    ("headFields",            "- nothing came yet",               "431 lingers bad_request",         "- the head is whole",           "- the head is whole"),
    ("bodyBytes",             "- nothing came yet",               "413 lingers body_too_large",      "413 lingers body_too_large",    "200 cut body_too_large"),
    ("firstByteTimeout",      "none closed first_byte_timeout",   "- headTimeout",                   "- bodyMinRate",                 "- the first byte came"),
    ("headTimeout",           "- firstByteTimeout, idleTimeout",  "408 lingers head_timeout",        "- bodyMinRate",                 "- the head is whole"),
    ("idleTimeout",           "none closed idle_timeout",         "- headTimeout",                   "- bodyMinRate",                 "- it is not idle"),
    ("bodyMinRate, sending",  "- nothing is due",                 "- headTimeout",                   "408 lingers body_timeout",      "200 cut body_timeout"),
    ("bodyMinRate, reading",  "- nothing is to be read",          "- nothing is to be read",         "- nothing is to be read",       "200 cut client_slow"),
    ("keepaliveRequests",     "- the response before closed",     "- the response before closed",    "200 closed",                    "- the response says so"),
    ("connections",           "none waits",                       "- it was accepted",               "- it was accepted",             "- it was accepted"),
    ("memory",                "none waits",                       "503 kept overloaded",             "- it was admitted",             "- it was admitted"),
    # limits of backends and rules
    ("upstreamConnections",   "- no endpoint is chosen",          "- no endpoint is chosen",         "503 kept upstream_limit",       "- it has a connection"),
    ("connectTimeout",        "- no endpoint is chosen",          "- no endpoint is chosen",         "504 kept connect_timeout +upstream_connect_errors", "- it has a connection"),
    ("responseHeadBytes",     "- no response is due",             "- no response is due",            "502 kept bad_response",         "- the head is whole"),
    ("interimResponses",      "- no response is due",             "- no response is due",            "502 kept too_many_interim",     "- the response is final"),
    ("responseTimeout",       "- no response is due",             "- no response is due",            "504 kept response_timeout",     "- streamIdleTimeout"),
    ("streamIdleTimeout",     "- no response is due",             "- no response is due",            "- responseTimeout",             "200 cut stream_idle_timeout"),
    ("timeouts.request",      "- starts with the whole head",     "- starts with the whole head",    "504 lingers request_timeout",   "200 cut request_timeout"),
    ("timeouts.backendRequest", "- starts with the sending",      "- starts with the sending",       "504 lingers backend_timeout",   "200 cut backend_timeout"),
    ("upstreamIdleTimeout",   "200 kept",                         "200 kept",                        "- its connection is busy",      "- its connection is busy"),
    ("tunnelIdleTimeout",     "- there is no tunnel",             "- there is no tunnel",            "- there is no tunnel",          "101 cut idle_timeout"),
    # faults of clients
    ("client FIN",            "none closed",                      "none closed client_closed",       "none closed client_closed",     "200 closed"),
    ("client RST",            "none closed",                      "none closed client_reset",        "none closed client_reset",      "200 cut client_reset"),
    ("client garbage",        "400 lingers bad_request",          "400 lingers bad_request",         "- it is the body",              "400 lingers bad_request"),
    ("client bad chunk",      "- no body is due",                 "- no body is due",                "400 lingers bad_request",       "200 cut bad_request"),
    ("client slow but steady", "- firstByteTimeout, idleTimeout", "- headTimeout",                   "200 kept",                      "- nothing is due"),
    # faults of backends
    ("no endpoint",           "- none is chosen",                 "- none is chosen",                "503 kept no_endpoints",         "- it has one"),
    ("backend refuses",       "- none is chosen",                 "- none is chosen",                "502 kept connect_failed +upstream_connect_errors", "- it is connected"),
    ("backend FIN",           "200 kept",                         "200 kept",                        "502 lingers upstream_closed",   "200 cut upstream_closed"),
    ("backend RST",           "200 kept",                         "200 kept",                        "502 lingers upstream_reset",    "200 cut upstream_reset"),
    ("backend RST, reused",   "- as above",                       "- as above",                      "502 lingers upstream_stale +upstream_not_retried", "200 cut upstream_reset"),
    ("backend garbage",       "200 kept +upstream_unsolicited",   "200 kept +upstream_unsolicited",  "502 lingers bad_response",      "200 kept"),
    ("backend bad chunk",     "- no body is due",                 "- no body is due",                "502 kept bad_response",         "200 cut bad_response"),
    ("backend silent",        "- nothing is due",                 "- nothing is due",                "504 kept response_timeout",      "200 cut stream_idle_timeout"),
    ("backend slow but steady", "- nothing is due",               "- nothing is due",                "200 kept",                      "200 kept"),
    ("backend stops reading", "- nothing is to be read",          "- nothing is to be read",         "504 reset response_timeout",    "- it has the request"),
    # the worker
    ("no descriptors",        "none waits",                       "503 kept overloaded",             "200 kept",                      "200 kept"),
    ("drain",                 "none lingers",                     "200 closed",                      "200 closed",                    "200 lingers"),
    ("drain timeout",         "none closed",                      "none closed",                     "503 closed drain_timeout",      "200 cut drain_timeout"),
    ("configuration changes", "200 kept",                         "200 kept",                        "200 kept",                      "200 kept"),
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Cell:
    """What is expected of one fault at one moment."""

    status: int  # 0: none
    fate: str
    reason: str = ""
    counter: str = ""

    @classmethod
    def parse(cls, text: str) -> Cell:
        status, fate, *more = text.split()
        reason = next((word for word in more if not word.startswith("+")), "")
        counter = next((word[1:] for word in more if word.startswith("+")), "")
        return cls(0 if status == "none" else int(status), fate, reason, counter)


def cells():
    """(fault, moment, cell) of everything that can happen."""
    for fault, *row in TABLE:
        for moment, text in zip(MOMENTS, row, strict=True):
            if not text.startswith("-"):
                yield fault, moment, Cell.parse(text)


def camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


_INTRODUCTION = """# Limits and faults

What happens when a limit of a `GatewayParameters` is reached, or a client or backend is at fault, at each moment of a request. "In the
body" is from the end of the request's head to the head of the response, whether or not the request has a body. The tests hold
every cell; this page is generated from their table (`python tests/support/moments.py >docs/limits.md`).

| limit (`spec.limits`) | default |
| --- | --- |
"""

_LEGEND = """
Times are milliseconds here (durations such as `10s` in the resource), sizes bytes; 0 is no limit. `bodyMinRate` is in bytes per second, looked at once a
`bodyRateWindow` in which the client should have sent or read. `timeouts` are a rule's of an HTTPRoute. `memory` is what buffers of a worker may take.

Each cell: the status that the client sees; what becomes of its connection; the `reason` of the access log and of
`fastgate_ended_total`; one more counter that goes up.

- **kept**: it carries the next request. **waits**: it stays in the socket's queue until there is room.
- **lingers**: FIN after everything owed, then what the client still sends is read for 2 s, so that no reset destroys the answer.
- **closed**: FIN. **reset**: RST. **cut**: FIN or RST in the middle of the response, never a clean end of it.

"""


def document() -> str:
    """Return docs/limits.md."""
    lines = [f"| {camel_case(each.name)} | {each.default} |" for each in fields(ir.Limits)]
    lines += [_LEGEND + "| | " + " | ".join(MOMENTS) + " |", "| --- " * (1 + len(MOMENTS)) + "|"]
    lines += [
        "| " + " | ".join([f"**{fault}**", *(f"*{c[2:]}*" if c.startswith("-") else c for c in row)]) + " |"
        for fault, *row in TABLE
    ]
    return _INTRODUCTION + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
