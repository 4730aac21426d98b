"""A small HTTP server of a process's own, on loopback unless told otherwise.

It answers GET and HEAD, closes every connection after one answer, and takes only requests whose Host is the address it
listens on or a loopback name, without a foreign Origin: a web page must not read it through a browser (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
from typing import TYPE_CHECKING, Any

from fastgate import sockets
from fastgate.core import http1
from fastgate.errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastgate.heads import RequestHead

TIMEOUT = 10.0  # seconds for a request to arrive and its answer to leave
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

Answer = tuple[int, str, str]  # status, content type, body


OPEN = ("/healthz", "/readyz")  # for everybody: probes name the Pod's address


class AdminListener:
    """Serves pages: what to answer by path."""

    def __init__(self, pages: Mapping[str, Callable[[], Answer]]) -> None:
        """Answer these paths; `start` listens."""
        self._pages = pages
        self._server: asyncio.Server | None = None
        self._host = ""

    async def start(self, host: str, port: int, inherited: socket.socket | None = None) -> tuple[str, int]:
        """Listen, and return the address that is bound. OSError when it cannot be.

        Args:
            host: an address, a name, or "*" for every address.
            port: 0 lets the system choose.
            inherited: a socket that listens there already.
        """
        self._host = host
        if inherited is None and host == "*":
            inherited = sockets.everywhere(port)
        if inherited is not None:
            self._server = await asyncio.start_server(self._serve, sock=inherited, limit=32768)
        else:
            self._server = await asyncio.start_server(self._serve, host, port, limit=32768)
        address = self._server.sockets[0].getsockname()
        return address[0], address[1]

    async def stop(self) -> socket.socket | None:
        """Stop accepting. Returns a socket that still listens, which closes when nobody holds it."""
        if self._server is None:
            return None
        kept = socket.socket(fileno=os.dup(self._server.sockets[0].fileno()))
        self._server.close()
        return kept

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    request = http1.parse_request(head)
                    assert request is not None  # noqa: S101 - the head is whole
                    answer = self._answer(request)
                    body_too = request.method != b"HEAD"
                except ParseError as e:
                    answer, body_too = (400, "text/plain", f"{e}\n"), True
                status, content_type, body = answer
                data = body.encode()
                writer.write(
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
                    f"Content-Length: {len(data)}\r\n"
                    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n".encode()
                    + (data if body_too else b"")
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client's affair
        finally:
            writer.close()

    def _answer(self, request: RequestHead) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return 405, "text/plain", "only GET and HEAD\n"
        path = request.path.decode("latin-1")
        if path not in OPEN and not self._invited(request):
            return 403, "text/plain", "Host or Origin is not of this listener\n"
        page = self._pages.get(path)
        return page() if page is not None else (404, "text/plain", f"{' '.join(self._pages)}\n")

    def _invited(self, request: RequestHead) -> bool:
        """Whether Host names this listener by its address or a loopback name, and no foreign page sent the request."""
        fields = {name.lower(): value for name, value in request.fields}
        if b"origin" in fields and not _is_own(
            fields[b"origin"].partition(b"://")[2].rsplit(b":", 1)[0].decode("latin-1"), self._host
        ):
            return False
        return _is_own(request.host.decode("latin-1"), self._host)


def _is_own(host: str, listening: str) -> bool:
    host = host.strip("[]").lower()
    if host in ("localhost", listening):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or listening in ("*", "0.0.0.0", "::")  # noqa: S104 - the operator asked for it


def text(status: int, line: str) -> Answer:
    """Return an answer of one line."""
    return status, "text/plain", f"{line}\n"


def as_json(value: dict[str, Any]) -> Answer:
    """Return a document."""
    return 200, "application/json", json.dumps(value, indent=2) + "\n"
