"""Requests as filters see them.

They are constructed without an engine, so that a filter is tested by plain calls; or over a record of the engine's,
from which each group of their fields is read when it is first asked for. What a filter changes is in their journal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from fastgate.core import calls
from fastgate.grammar import AUTHORITY
from fastgate.plugins.body import UNREAD, checked, replayed
from fastgate.plugins.headers import OF_REQUEST, OF_TRAILERS, Edit, Headers
from fastgate.plugins.identity import Client, TlsIdentity
from fastgate.plugins.stale import stale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

_NO_PATH = re.compile(r"[^!-~]|[?#]")
_DOTS = re.compile(r"/(?:\.|%2[eE]){1,2}(?:/|$)")
_NO_QUERY = re.compile(r"[^!-~]|#")

_METHOD, _SCHEME, _AUTHORITY, _PATH, _RAW_PATH, _QUERY = range(6)  # of RequestRecord.target()
_EDITED = {"authority": _AUTHORITY, "path": _PATH, "query": _QUERY}


class RequestRecord(Protocol):
    """What a Request reads from: a method for each group of fields, called at most once. None sees edits."""

    def target(self) -> tuple[str, str, str, str, str, str]:
        """Return method, scheme, authority, normalised path, path as sent and query."""

    def fields(self) -> Iterable[tuple[str, str]]:
        """Return the header fields."""

    def trailers(self) -> Iterable[tuple[str, str]]:
        """Return the trailer fields, none while the body has not ended."""

    def connection(self) -> tuple[Client, TlsIdentity | None]:
        """Return whom it is from, and its TLS identity."""

    def place(self) -> tuple[str, str, str]:
        """Return route, rule and request ID."""

    def body(self) -> bytes | None:
        """Return the body when it is buffered."""


class Request(calls.RequestBase):
    """A request on its way to a backend.

    A filter edits `headers`, `path`, `query` and `authority`, and `body` when it is buffered. Edits go upstream; the
    route has been chosen and stays.

    Attributes:
        journal: the edits, in order; those of `headers` too.
    """

    __slots__ = ()

    def __init__(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        scheme: str = "http",
        authority: str = "localhost",
        query: str = "",
        raw_path: str | None = None,
        trailers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        client: tuple[str, int] = ("127.0.0.1", 50000),
        tls: TlsIdentity | None = None,
        route: str = "",
        rule: str = "",
        id: str = "",  # noqa: A002 - the word for it
    ) -> None:
        """Make a request without an engine, for tests. A query may stand in `path`, after a "?"."""
        before, _, after = path.partition("?")
        self.journal = []
        self._target = [method, scheme, authority, before, before if raw_path is None else raw_path, query or after]
        self._connection = (Client(*client), tls)
        self._place = (route, rule, id)
        self._headers = Headers(headers, names=OF_REQUEST, journal=self.journal)
        self._trailers = Headers(trailers, names=OF_TRAILERS)
        self._body = body

    @classmethod
    def _over(cls, record: RequestRecord, journal: list[Edit]) -> Self:
        """Return the request of a record, with edits that have been made before."""
        self = cls.__new__(cls)
        self._record = record
        self.journal = journal
        self._body = UNREAD
        return self

    # --- what it says ------------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """As sent; methods are case-sensitive."""
        return self._read_target()[_METHOD]

    @property
    def scheme(self) -> str:
        """Either "http" or "https"."""
        return self._read_target()[_SCHEME]

    @property
    def authority(self) -> str:
        """Host and port as sent. Assigning changes what the backend sees, not where the request goes."""
        return self._read_target()[_AUTHORITY]

    @authority.setter
    def authority(self, value: str) -> None:
        _text("authority", value)
        if not AUTHORITY.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is not an authority: a host, and a port after ':'")
        self._edit("authority", value)

    @property
    def host(self) -> str:
        """The authority without its port; an IPv6 address has its brackets."""
        authority = self.authority
        host, colon, port = authority.rpartition(":")
        return host if colon and port.isdecimal() else authority

    @property
    def path(self) -> str:
        """The path in normal form: what routes were matched with. Assigning changes what the backend sees."""
        return self._read_target()[_PATH]

    @path.setter
    def path(self, value: str) -> None:
        _text("path", value)
        if not value.startswith("/"):
            raise ValueError(f"{value[:80]!r} is not an absolute path")
        if found := _NO_PATH.search(value):
            raise ValueError(f"a path cannot have {found[0]!r}: percent-encode it, and assign a query to request.query")
        if _DOTS.search(value):
            raise ValueError("a path cannot have '.' and '..' segments: they could lead out of what the route matched")
        self._edit("path", value)

    @property
    def raw_path(self) -> str:
        """The path as the client sent it."""
        return self._read_target()[_RAW_PATH]

    @property
    def query(self) -> str:
        """What follows the "?", "" without one. Assigning changes what the backend sees."""
        return self._read_target()[_QUERY]

    @query.setter
    def query(self, value: str) -> None:
        _text("query", value)
        if found := _NO_QUERY.search(value):
            raise ValueError(f"a query cannot have {found[0]!r}: percent-encode it")
        self._edit("query", value)

    @property
    def trailers(self) -> Headers:
        """The trailer fields, none while the body has not ended. They cannot be edited."""
        trailers = self._trailers
        if trailers is None:
            trailers = self._trailers = Headers(self._record.trailers, names=OF_TRAILERS)
        return trailers

    @property
    def body(self) -> bytes | None:
        """The whole body in a filter with `buffer_body`, None in others. A buffered one can be assigned."""
        if self._body is UNREAD:
            self._body = replayed(self._record.body(), self.journal)
        return self._body

    @body.setter
    def body(self, value: bytes) -> None:
        if self.body is None:
            raise ValueError("the body is not buffered: set buffer_body, or change it in on_request_body")
        self._body = checked(value)
        self.journal.append(("body", "", self._body))

    # --- where it comes from, and where it goes ----------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client's address and port."""
        return self._read_connection()[0]

    @property
    def tls(self) -> TlsIdentity | None:
        """What TLS says about the client; None without TLS."""
        return self._read_connection()[1]

    @property
    def route(self) -> str:
        """The route, `HTTPRoute/namespace/name`."""
        return self._read_place()[0]

    @property
    def rule(self) -> str:
        """The rule's name, or its index when it has none."""
        return self._read_place()[1]

    @property
    def id(self) -> str:
        """What logs and backends know the request by: its x-request-id."""
        return self._read_place()[2]

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.scheme}://{self.authority}{self.path}>"

    # --- inside ------------------------------------------------------------------------------------------------------

    def _edit(self, part: str, value: str) -> None:
        if self._target is not None:
            self._target[_EDITED[part]] = value
        self.journal.append((part, "", value))

    def _read_target(self) -> list[str]:
        target = self._target
        if target is None:
            target = self._target = list(self._record.target())
            for op, _, value in self.journal:
                if op in _EDITED:
                    target[_EDITED[op]] = str(value)
        return target

    def _read_connection(self) -> tuple[Client, TlsIdentity | None]:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._record.connection()
        return connection

    def _read_place(self) -> tuple[str, str, str]:
        place = self._place
        if place is None:
            place = self._place = self._record.place()
        return place

    def _end_body(self, trailers: Iterable[tuple[str, str]]) -> None:
        """Take what came behind the body."""
        self._trailers = Headers(trailers, names=OF_TRAILERS)

    def _close(self) -> None:
        """Refuse every further use, and let go of the record."""
        for fields in (self._headers, self._trailers):
            if fields is not None:
                fields._close()  # noqa: SLF001 - made here
        self._record = self._body = self._headers = self._trailers = None  # type: ignore[assignment] # never read again
        self.__class__ = _StaleRequest


_StaleRequest = stale(Request)


def _text(what: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{what} is a str, not {type(value).__name__}")
