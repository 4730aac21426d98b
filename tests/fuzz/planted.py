"""Bugs that each harness must find: one edit of the sources each, planted in a copy by `./dev fuzz --planted`.

They are of the kinds that proxies have had: framing that two readers see differently, a byte read or written too many, a check
that is left out. An edit must fit exactly once; where the code under it has changed, plant the same bug in the new code.
"""

from __future__ import annotations

from dataclasses import dataclass

from sanitized import Edit


@dataclass(frozen=True)
class Bug:
    """One fault, and the harness whose business it is."""

    harness: str
    name: str
    edit: Edit


def bug(harness: str, module: str, name: str, old: str, new: str) -> Bug:
    return Bug(harness, name, Edit(f"src/fastgate/core/{module}.pyx", old, new))


def engine_bug(file: str, name: str, old: str, new: str) -> Bug:
    return Bug("verdict", name, Edit(f"csrc/{file}", old, new))


BUGS = (
    engine_bug(
        "fg_call.c", "line ends in a value", "(s.p[i] < 0x20 && s.p[i] != '\\t')", "(s.p[i] < 0x09 && s.p[i] != '\\t')"
    ),
    engine_bug(
        "fg_call.c",
        "a reference may end behind the record",
        "(uint64_t)r.len * record <= x->v->size - r.off",
        "(uint64_t)r.len * record <= x->v->size",
    ),
    engine_bug("fg_call.c", "a filter frames the message", '{"connection", "content-length", ', '{"connection", '),
    engine_bug(
        "fg_filter.c",
        "the plugin process answers for an inline stage",
        " || stage_at(x)->runs_inline != runs_inline",
        "",
    ),
    engine_bug("fg_ring.h", "a record may run over the ring's end", " || first[0] > FG_RING_BYTES - at", ""),
    bug(
        "request",
        "http1",
        "a second Content-Length counts",
        "if head.content_length != FG_NO_LENGTH and not (same_lengths and head.content_length == length):",
        "if head.content_length != FG_NO_LENGTH and head.content_length != length:",
    ),
    bug(
        "request",
        "http1",
        "Content-Length and Transfer-Encoding together",
        "        if head.content_length != FG_NO_LENGTH:\n            return FG_E_LENGTH_WITH_TRANSFER_ENCODING\n",
        "",
    ),
    bug(
        "request",
        "http1",
        "white space before the colon",
        "            if p[0] != c':' or p == name or p - name > 0xffff:",
        "            while p[0] == c' ':\n                p += 1\n            if p[0] != c':' or p == name or p - name > 0xffff:",
    ),
    bug(
        "request",
        "http1",
        "%2e%2e is not seen to climb",
        "            if fg_class[c] & FG_CLASS_UNRESERVED:",
        "            if fg_class[c] & FG_CLASS_UNRESERVED and c != c'.':",
    ),
    bug(
        "request",
        "http1",
        "sixteen bytes are read where fifteen are",
        "fg_near_name(p) if end - p >= 16 else 0",
        "fg_near_name(p) if end - p >= 15 else 0",
    ),
    bug(
        "response",
        "http1",
        "a bare LF ends the status line",
        "        return FG_E_BAD_LINE_END if p[0] == c'\\n' else FG_E_BAD_STATUS_LINE\n",
        "        if p[0] != c'\\n':\n            return FG_E_BAD_STATUS_LINE\n        p -= 1\n",
    ),
    bug(
        "response", "http1", "304 has a body", "or head.status == 204 or head.status == 304:", "or head.status == 204:"
    ),
    bug(
        "response",
        "http1",
        "different Content-Lengths",
        "not (same_lengths and head.content_length == length):",
        "not same_lengths:",
    ),
    bug(
        "response",
        "http1",
        "one field more than there is room for",
        "        if n == limits.max_fields:",
        "        if n > limits.max_fields:",
    ),
    bug(
        "response",
        "http1",
        "chunked in HTTP/1.0",
        "if te != TE_CHUNKED_LAST or head.minor_version == 0:",
        "if te != TE_CHUNKED_LAST:",
    ),
    bug(
        "chunked",
        "http1",
        "sizes of seventeen digits wrap",
        "    MAX_SIZE_DIGITS = 15 ",
        "    MAX_SIZE_DIGITS = 17 ",
    ),
    bug(
        "chunked",
        "http1",
        "a bare LF ends the size line",
        "                return FG_E_BAD_LINE_END if buf[i] == c'\\n' else FG_E_BAD_CHUNK_SIZE\n            i += 1",
        "                if buf[i] != c'\\n':\n                    return FG_E_BAD_CHUNK_SIZE\n"
        "                c.state = FG_CHUNK_SIZE_LF\n                continue\n            i += 1",
    ),
    bug(
        "chunked",
        "http1",
        "the digits are not counted anew",
        "            c.digits = 0\n",
        "            c.digits = 1 if c.left else 0\n",
    ),
    bug(
        "chunked",
        "http1",
        "anything may follow the data",
        "            if buf[i] != c'\\r':\n                return FG_E_BAD_CHUNK_END\n",
        "",
    ),
    bug(
        "chunked",
        "http1",
        "an extension one byte over the limit",
        "            elif c.line > MAX_EXTENSION:",
        "            elif c.line > MAX_EXTENSION + 1:",
    ),
    bug(
        "client_hello",
        "client_hello",
        "a vector longer than what holds it",
        "    if n < 0 or n > left[0]:\n        return -1\n    left[0] -= <uint32_t>n",
        "    if n < 0:\n        return -1\n    left[0] -= <uint32_t>n if n < left[0] else left[0]",
    ),
    bug(
        "client_hello",
        "client_hello",
        "a server name of any length",
        "if hello.server_name_len or n > 255:",
        "if hello.server_name_len:",
    ),
    bug(
        "client_hello",
        "client_hello",
        "one protocol more than there is room for",
        "if n > 32 or hello.nalpn == FG_HELLO_MAX_ALPN:",
        "if n > 32 or hello.nalpn > FG_HELLO_MAX_ALPN:",
    ),
    bug(
        "client_hello",
        "client_hello",
        "the second record's header is read as content",
        "    if c.pos == c.record:",
        "    if c.pos == c.record and c.pos == 0:",
    ),
    bug(
        "client_hello",
        "client_hello",
        "a message that ends within its record",
        "return <int64_t>pos if have == length[0] else FG_E_BAD_CLIENT_HELLO",
        "return <int64_t>pos",
    ),
    bug(
        "router",
        "router",
        "a prefix ends within a segment",
        " and (label.len == size or rest[label.len] == c'/')",
        "",
    ),
    bug(
        "router",
        "router",
        "a wildcard serves its own domain",
        "            return n.up\n",
        "            return at if n.below else n.up\n",
    ),
    bug(
        "router",
        "router",
        "field lines are not joined",
        "        if v.p == NULL:\n            v.p = q.base + f.value",
        "        if True:\n            v.p = q.base + f.value",
    ),
    bug(
        "router",
        "router",
        "remembered values of one name serve another",
        "x.known_queries |= <uint32_t>1 << name",
        "x.known_queries |= <uint32_t>3 << name",
    ),
    bug(
        "router",
        "router",
        "an edge longer than the path",
        "    if label.len > size:\n        return False\n",
        "    if False:\n        return False\n",
    ),
    bug(
        "image",
        "image",
        "a reference may end behind its segment",
        "    return <uint64_t>r.off + r.len <= s.size",
        "    return r.off <= s.size",
    ),
    bug(
        "image",
        "image",
        "sizes are multiplied in 32 bits",
        "<uint64_t>r.off + <uint64_t>r.len * record <= s.size",
        "r.off + <uint32_t>(r.len * record) <= s.size",
    ),
    bug("image", "image", "depths are believed", "and n.depth == <uint64_t>parent.depth + n.label.len + 1", ""),
    bug(
        "image",
        "image",
        "one cluster too many",
        "        if b.cluster > clusters or not filters_ok",
        "        if b.cluster > clusters + 1 or not filters_ok",
    ),
    bug(
        "image",
        "image",
        "a host may name any segment",
        " and image.dir[low].kind == FG_SEG_GROUP",
        "",
    ),
    bug(
        "image",
        "image",
        "a server name leads behind the last relay",
        "image, segment(image, l.hosts_segment), groups, l.relays.len)",
        "image, segment(image, l.hosts_segment), groups, l.relays.len + 1)",
    ),
    bug(
        "image",
        "image",
        "a digest of another length",
        "[i].len != FG_DIGEST:",
        "[i].len > FG_DIGEST:",
    ),
    bug(
        "router",
        "router",
        "a listener is sought among wildcards alone",
        "    cdef uint32_t value = hosts_exact(image, seg, name, size), node",
        "    cdef uint32_t value = 0, node",
    ),
)
