"""Responses as filters see and make them; as `request` says of requests."""

from __future__ import annotations

import json as json_
from typing import TYPE_CHECKING, Any, Protocol

from fastgate.plugins.body import UNREAD, checked, replayed
from fastgate.plugins.headers import OF_RESPONSE, OF_TRAILERS, Edit, Headers, pairs
from fastgate.plugins.stale import stale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

_NO_BODY = (204, 304)  # RFC 9110 section 6.4.1


class ResponseRecord(Protocol):
    """What a Response reads from. None sees edits."""

    def status(self) -> tuple[int, str]:
        """Return the status, and why the gateway answers itself, or ""."""

    def fields(self) -> Iterable[tuple[str, str]]:
        """Return the header fields."""

    def trailers(self) -> Iterable[tuple[str, str]]:
        """Return the trailer fields, none while the body has not ended."""

    def body(self) -> bytes | None:
        """Return the body of an answer of the gateway's own."""


class Response:
    """A response: made by a filter, by the backend, or by the gateway itself.

        fastgate.Response(403, b"no")
        fastgate.Response(404, "not here", {"cache-control": "no-store"})
        fastgate.Response(json={"ok": True})

    Attributes:
        journal: the edits, in order; those of `headers` too.
    """

    __slots__ = ("_body", "_headers", "_record", "_status", "_trailers", "journal")

    _record: ResponseRecord | None  # None: a filter made it, and may keep it
    _status: tuple[int, str] | None
    _headers: Headers | None
    _trailers: Headers | None
    _body: bytes | None
    journal: list[Edit]

    def __init__(
        self,
        status: int = 200,
        body: bytes | str | None = b"",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        json: Any = None,
        reason: str = "",
        trailers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    ) -> None:
        """Make a response.

        Args:
            status: 200 to 599.
            body: bytes as they are; text as UTF-8, of type text/plain unless `headers` say another; None in tests of a
                filter whose backend's response streams.
            headers: its fields. Those that frame it are the gateway's to write.
            json: what is sent as JSON, in the place of `body`.
            reason: in tests of `on_local_reply`, why the gateway answers.
            trailers: in tests, what follows the body.
        """
        self.journal = []
        self._record = None
        self._status = (_status(status), reason)
        fields = list(pairs(headers))
        kind = ""
        if json is not None:
            if body:
                raise ValueError("a response has a body or json, not both")
            body, kind = json_.dumps(json, ensure_ascii=False, separators=(",", ":")).encode(), "application/json"
        elif isinstance(body, str):
            body, kind = body.encode(), "text/plain; charset=utf-8"
        if kind and not any(name.lower() == "content-type" for name, _ in fields):
            fields.append(("content-type", kind))
        if body and status in _NO_BODY:
            raise ValueError(f"a response of status {status} has no body")
        self._headers = Headers(fields, names=OF_RESPONSE, journal=self.journal, made=True)
        self._body = body if body is None else checked(body)
        self._trailers = Headers(trailers, names=OF_TRAILERS)

    @classmethod
    def _over(cls, record: ResponseRecord, journal: list[Edit]) -> Self:
        """Return the response of a record, with edits that have been made before."""
        self = cls.__new__(cls)
        self._record = record
        self.journal = journal
        self._status = self._headers = self._trailers = None
        self._body = UNREAD
        return self

    @property
    def status(self) -> int:
        """200 to 599; can be assigned."""
        return self._read_status()[0]

    @status.setter
    def status(self, value: int) -> None:
        number = _status(value)
        if self._status is not None:
            self._status = (number, self._status[1])
        self.journal.append(("status", "", str(number)))

    @property
    def reason(self) -> str:
        """Why the gateway answers itself: a token of the access log, such as "no_route"; "" for any other response."""
        return self._read_status()[1]

    @property
    def headers(self) -> Headers:
        """The header fields."""
        headers = self._headers
        if headers is None:
            headers = self._headers = Headers(self._read().fields, names=OF_RESPONSE, journal=self.journal)
        return headers

    @property
    def trailers(self) -> Headers:
        """The trailer fields, none while the body has not ended. They cannot be edited."""
        trailers = self._trailers
        if trailers is None:
            trailers = self._trailers = Headers(self._read().trailers, names=OF_TRAILERS)
        return trailers

    @property
    def body(self) -> bytes | None:
        """The body of an answer of a filter or of the gateway, which can be assigned; None when a backend's streams."""
        if self._body is UNREAD:
            self._body = replayed(self._read().body(), self.journal)
        return self._body

    @body.setter
    def body(self, value: bytes | str) -> None:
        if self.body is None:
            raise ValueError("the body streams: return another Response, or change it in on_response_body")
        self._body = checked(value.encode() if isinstance(value, str) else value)
        self.journal.append(("body", "", self._body))

    def copy(self) -> Response:
        """Return a copy, whose edits are its own."""
        copy = Response(self.status, self.body, reason=self.reason)
        copy._headers = self.headers.copy()
        copy._headers.journal = copy.journal
        copy._trailers = self.trailers.copy()
        return copy

    def __repr__(self) -> str:
        return f"<Response {self.status}>"

    # --- inside ------------------------------------------------------------------------------------------------------

    def _read(self) -> ResponseRecord:
        assert self._record is not None  # noqa: S101 - without one everything is set from the beginning
        return self._record

    def _read_status(self) -> tuple[int, str]:
        found = self._status
        if found is None:
            status, reason = self._read().status()
            for op, _, value in self.journal:
                if op == "status":
                    status = int(value)
            found = self._status = (status, reason)
        return found

    def _end_body(self, trailers: Iterable[tuple[str, str]]) -> None:
        """Take what came behind the body."""
        self._trailers = Headers(trailers, names=OF_TRAILERS)

    def _close(self) -> None:
        """Refuse every further use, and let go of the record. One that a filter made is the filter's, and lives on."""
        if self._record is None:
            return
        for fields in (self._headers, self._trailers):
            if fields is not None:
                fields._close()  # noqa: SLF001 - made here
        self._record = self._body = self._headers = self._trailers = None
        self.__class__ = _StaleResponse


_StaleResponse = stale(Response)


def _status(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"a status is an int, not {type(value).__name__}")
    if not 200 <= value <= 599:  # noqa: PLR2004 - interim responses are the gateway's
        raise ValueError(f"a status is 200 to 599, not {value}")
    return int(value)
