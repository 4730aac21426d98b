"""Parsed heads as Python values: what `fastgate.parse_request` and `fastgate.parse_response` return."""

from __future__ import annotations

from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of an HTTP/1 request (RFC 9112 section 3).

    Attributes:
        method: as sent; methods are case-sensitive.
        target: the request target as sent.
        path: absolute path of the target, not normalised; `*` for `OPTIONS *`, empty for CONNECT.
        query: what follows the first `?`, None when there is none.
        host: authority's host as sent, without port; empty in HTTP/1.0 requests without Host.
        port: authority's port, 0 when it names none.
        minor_version: 0 or 1.
        framing: "none", "length" or "chunked": how the body ends.
        content_length: bytes, None when the head does not say.
        fields: names as spelt and trimmed values, in the order of arrival.
        length: bytes of the head, its empty line included.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes | None
    host: bytes
    port: int
    minor_version: int
    framing: str
    content_length: int | None
    fields: Fields
    length: int


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The head of an HTTP/1 response (RFC 9112 section 4).

    Attributes:
        status: 100 to 999.
        reason: reason phrase as sent.
        minor_version: 0 or 1.
        framing: "none", "length", "chunked" or "until_close", as if the request had been GET (RFC 9112 section 6.3).
        content_length: bytes, None when the head does not say.
        fields: names as spelt and trimmed values, in the order of arrival.
        length: bytes of the head, its empty line included.
    """

    status: int
    reason: bytes
    minor_version: int
    framing: str
    content_length: int | None
    fields: Fields
    length: int
