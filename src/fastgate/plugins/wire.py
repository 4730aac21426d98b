"""Between the engine's records and what filters see: calls become requests and responses, their journals verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate.core import filters
from fastgate.plugins.identity import Client, Endpoint, TlsIdentity
from fastgate.plugins.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastgate.plugins.headers import Edit
    from fastgate.plugins.response import Response

    Pairs = list[tuple[str, str]]

_TARGET = tuple(filters.TEXTS[name] for name in ("method", "scheme", "authority", "path", "raw_path", "query"))
_PLACE = tuple(filters.TEXTS[name] for name in ("route", "rule", "id"))
_CLIENT = filters.TEXTS["client_address"]
_TLS_VERSION, _TLS_SUBJECT, _TLS_NAMES = (filters.TEXTS[f"tls_{what}"] for what in ("version", "subject", "names"))
_SERVER_NAME = filters.TEXTS["server_name"]
_FINGERPRINT = filters.TEXTS["tls_fingerprint"]
_REASON = filters.TEXTS["reason"]
_BACKEND = filters.TEXTS["backend"]
ID = filters.TEXTS["id"]


class RequestRecord:
    """The request of a call, for `Request`."""

    __slots__ = ("_call",)

    def __init__(self, call: filters.Call) -> None:
        self._call = call

    def target(self) -> tuple[str, str, str, str, str, str]:
        """Return method, scheme, authority, normalised path, path as sent and query."""
        method, scheme, authority, path, target, query = map(self._call.text, _TARGET)
        if "://" in target:  # absolute-form (RFC 9112 section 3.2.2)
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        return method, scheme, authority, path, target.partition("?")[0], query

    def fields(self) -> Iterable[tuple[str, str]]:
        """Return the header fields."""
        return self._call.fields()

    def trailers(self) -> Iterable[tuple[str, str]]:
        """Return the trailer fields; none while the body has not ended."""
        return self._call.trailers()

    def connection(self) -> tuple[Client, TlsIdentity | None]:
        """Return whom it is from, and what TLS says about them."""
        return Client(self._call.text(_CLIENT), self._call.client_port), self._tls()

    def _tls(self) -> TlsIdentity | None:
        text = self._call.text
        version = text(_TLS_VERSION)
        if not version:
            return None
        names = [name.partition(":") for name in text(_TLS_NAMES).split("\n")]
        return TlsIdentity(
            version=version,
            server_name=text(_SERVER_NAME),
            subject=text(_TLS_SUBJECT).encode("latin-1").decode("utf-8", "replace"),
            dns_names=tuple(value for kind, _, value in names if kind == "DNS"),
            uris=tuple(value for kind, _, value in names if kind == "URI"),
            fingerprint=text(_FINGERPRINT),
        )

    def place(self) -> tuple[str, str, str]:
        """Return route, rule and request ID."""
        route, rule, number = map(self._call.text, _PLACE)
        return route, rule, number

    def body(self) -> bytes | None:
        """Return it when it is buffered; otherwise it streams."""
        return self._call.body if self._call.buffered else None


class ResponseRecord:
    """The response of a call, for `Response`."""

    __slots__ = ("_call",)

    def __init__(self, call: filters.Call) -> None:
        self._call = call

    def status(self) -> tuple[int, str]:
        """Return the status, and why the gateway answers itself."""
        return self._call.status, self._call.text(_REASON)

    def fields(self) -> Iterable[tuple[str, str]]:
        """Return the header fields."""
        return self._call.fields(response=True)

    def trailers(self) -> Iterable[tuple[str, str]]:
        """Return the trailer fields; none while the body has not ended."""
        return self._call.trailers(response=True)

    def body(self) -> bytes | None:
        """Return None: it streams."""
        return None


class ReplyRecord:
    """An answer of the gateway's own, or what an earlier stage made of it, for `Response`."""

    __slots__ = ("_body", "_call", "_fields", "_status")

    def __init__(self, call: filters.Call) -> None:
        self._call = call
        earlier = call.edits(response=True)
        if earlier:
            _, self._fields, _, _, _, self._status, self._body = earlier[-1]
        else:
            self._status, self._fields, self._body = call.status, [("content-type", "text/plain")], call.body

    def status(self) -> tuple[int, str]:
        """Return the status, and why the gateway answers."""
        return self._status, self._call.text(_REASON)

    def fields(self) -> Iterable[tuple[str, str]]:
        """Return the header fields."""
        return self._fields

    def trailers(self) -> Iterable[tuple[str, str]]:
        """Return none."""
        return ()

    def body(self) -> bytes | None:
        """Return the body."""
        return self._body


def earlier_edits(call: filters.Call, *, response: bool) -> list[Edit]:
    """Return the journal of what earlier stages did."""
    journal: list[Edit] = []
    for set_, add, remove, target, authority, status, _ in call.edits(response):
        journal += (("remove", name, "") for name in remove)
        seen: set[str] = set()
        for name, value in set_:
            journal.append(("add" if name.lower() in seen else "set", name, value))
            seen.add(name.lower())
        journal += (("add", name, value) for name, value in add)
        if target:
            path, _, query = target.partition("?")
            journal += (("path", "", path), ("query", "", query))
        if authority:
            journal.append(("authority", "", authority))
        if status:
            journal.append(("status", "", str(status)))
    return journal


def edited(call: filters.Call, journal: Sequence[Edit], message: Request | Response) -> bytes:
    """Return the verdict that lets an exchange go on with these edits of its request or response."""
    simple = filters.simple_verdict(call, journal)
    if simple is not None:
        return simple
    others = {op: value for op, name, value in journal if not name}
    parts: dict[str, Any] = _parts(edit for edit in journal if edit[1])
    if isinstance(message, Request):
        if "path" in others or "query" in others:
            parts["target"] = f"{message.path}?{message.query}" if message.query else message.path
        if "authority" in others:
            parts["authority"] = message.authority
        if "body" in others:
            parts["outcome"], parts["body"] = filters.REPLACE, message.body
    elif "status" in others:
        parts["status"] = message.status
    return filters.verdict(call, **parts)


def answered(call: filters.Call, response: Response) -> bytes:
    """Return the verdict that answers an exchange."""
    return filters.verdict(
        call,
        filters.REPLY,
        status=response.status,
        add=response.headers.items(),
        body=response.body or b"",
    )


def replaced(call: filters.Call, piece: bytes) -> bytes:
    """Return the verdict that sends these bytes in the place of a piece of a body."""
    return filters.verdict(call, filters.REPLACE, body=piece)


def endpoints_of(call: filters.Call) -> tuple[Endpoint, ...]:
    """Return what a request may be sent to."""
    backend = call.text(_BACKEND)
    return tuple(Endpoint(backend, address, port, weight) for address, port, weight in call.endpoints())


def chosen(call: filters.Call, endpoint: Endpoint) -> bytes:
    """Return the verdict that sends a request to an endpoint."""
    return filters.verdict(call, endpoint=(endpoint.address, endpoint.port))


def passed(call: filters.Call) -> bytes:
    """Return the verdict that leaves everything as it is."""
    return filters.verdict(call)


def failed(call: filters.Call) -> bytes:
    """Return the verdict of a filter that failed and may not be skipped."""
    return filters.verdict(call, filters.FAILED)


def _parts(edits: Iterable[Edit]) -> dict[str, Any]:
    """Edits in their order as a set, an addition and a removal, in which no name comes twice."""
    ends: dict[str, tuple[bool, Pairs]] = {}  # by name in lower case: the fields before are replaced, by these
    spelt: dict[str, str] = {}
    for op, name, value in edits:
        lower = name.lower()
        spelt[lower] = name
        if op == "add":
            ends.setdefault(lower, (False, []))[1].append((name, str(value)))
        else:
            ends[lower] = (True, [(name, str(value))] if op == "set" else [])
    return {
        "replace": [pair for replaced, pairs in ends.values() if replaced for pair in pairs],
        "add": [pair for replaced, pairs in ends.values() if not replaced for pair in pairs],
        "remove": [spelt[lower] for lower, (replaced, pairs) in ends.items() if replaced and not pairs],
    }
