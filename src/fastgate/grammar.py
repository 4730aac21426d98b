"""Grammar of what configurations and filters write into messages (RFC 9110 section 5, RFC 3986 section 3).

The API's types are wider than what a message may carry: a line end in a value or a space in a path would split it.
"""

from __future__ import annotations

import re

# Fields that frame a message or belong to the connection (RFC 9110 section 7.6.1, RFC 9112 section 6): an edit could
# make two recipients disagree about where a message ends.
FRAMING = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
RESERVED = FRAMING | {"host"}  # of requests: the authority is rewritten as such, never by its field

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NO_FIELD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
PATH = re.compile(r"(/([-A-Za-z0-9._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?")
AUTHORITY = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[-A-Za-z0-9._]+)(?::[0-9]{1,5})?")
