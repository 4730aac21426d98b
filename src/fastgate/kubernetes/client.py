"""Requests to an API server: bytes in, bytes out, and what went wrong as one kind of exception."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import msgspec

from fastgate.kubernetes.credentials import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fastgate.kubernetes.config import Config

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"

TIMEOUT = 30.0  # seconds for an answer
_SILENCE = 330.0  # seconds without a byte after which a watch is given up; the server sends bookmarks every minute
_KEEPALIVE = 10  # seconds without a byte after which the other side is probed, and between probes
_UNAUTHORIZED, _BAD = 401, 400


class ApiError(Exception):
    """What an API server refused, or why it gave no answer.

    Attributes:
        status: of HTTP; 0: there was no answer.
        reason: of metav1.Status, such as "Conflict" or "Expired"; "" when it gave none.
        message: a sentence.
        retry_after: seconds that the server asks for, or None.
        verb: as RBAC says it.
        path: that was asked for.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, verb: str, path: str, retry_after: float | None = None
    ) -> None:
        """Keep what is known."""
        super().__init__(f"{verb} {path}: {message or reason or status}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        self.verb = verb
        self.path = path


class _Details(msgspec.Struct):
    retryAfterSeconds: float | None = None  # noqa: N815 - as the API spells it


class _Status(msgspec.Struct):
    code: int | None = None
    reason: str | None = None
    message: str | None = None
    details: _Details | None = None


_status = msgspec.json.Decoder(_Status)


class Client:
    """A client of one API server. Use it as an asynchronous context manager, or close it."""

    def __init__(self, config: Config) -> None:
        """Ask as `config` says; nothing is sent yet."""
        self.config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self,
        verb: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """Return the body of the answer.

        Args:
            verb: what RBAC calls it, for messages: get, list, create, update, patch, delete.
            method: of HTTP.
            path: from the root of the server.
            query: its parameters.
            body: that is sent.
            content_type: of the body.
            accept: the representation that is asked for.

        Raises:
            ApiError: the status was not of success, or there was none.
        """
        try:
            async with (
                asyncio.timeout(TIMEOUT),
                self._answer(verb, method, path, query, accept=accept, body=body, content_type=content_type) as answer,
            ):
                return await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise _unanswered(e, verb, path) from None

    async def watch(self, path: str, query: Mapping[str, str], accept: str = JSON) -> AsyncIterator[bytes]:
        """Yield the lines of a watch until the server ends it; before them an empty one, once it is accepted.

        Raises:
            ApiError: it was refused, or the connection was lost.
        """
        async with self._answer("watch", "GET", path, {**query, "watch": "true"}, accept=accept) as answer:
            yield b""
            rest: list[bytes] = []
            try:
                async for piece in answer.content.iter_any():
                    first, *lines = piece.split(b"\n")
                    rest.append(first)
                    for line in lines:
                        yield b"".join(rest)
                        rest = [line]
            except (aiohttp.ClientError, OSError, TimeoutError) as e:
                raise _unanswered(e, "watch", path) from None

    @asynccontextmanager
    async def _answer(
        self,
        verb: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        accept: str,
        body: bytes | None = None,
        content_type: str = "",
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        for is_last in (False, True):
            try:
                identity = await self.config.credential.identity()
                if identity.token:
                    headers["Authorization"] = f"Bearer {identity.token}"
                answer = await self._connected().request(
                    method,
                    self.config.server + path,
                    params=query,
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    ssl=self.config.tls.context(identity.pair) if self.config.tls is not None else True,
                    server_hostname=self.config.name or None,
                    proxy=self.config.proxy or None,
                )
            except (aiohttp.ClientError, OSError, ValueError, ConfigError) as e:
                raise _unanswered(e, verb, path) from None
            async with answer:
                if answer.status == _UNAUTHORIZED and not is_last:
                    self.config.credential.refuse(identity)  # it may have been renewed
                    continue
                if answer.status >= _BAD:
                    raise await _refused(answer, verb, path)
                yield answer
                return

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, socket_factory=_socket),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10.0, sock_read=_SILENCE),
                headers={"User-Agent": f"fastgate/{version('fastgate')}"},
                read_bufsize=1 << 20,
                trust_env=True,
            )
        return self._session


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices when the other side vanished without a word: a watch is silent for long."""
    sock = socket.socket(*address[:3])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return sock


async def _refused(answer: aiohttp.ClientResponse, verb: str, path: str) -> ApiError:
    text = (await answer.content.read(1 << 16)).decode(errors="replace")
    try:
        status = _status.decode(text)
    except msgspec.MsgspecError:
        status = _Status(message=text.strip())
    after = answer.headers.get("Retry-After", "")
    seconds = float(after) if after.isdecimal() else status.details.retryAfterSeconds if status.details else None
    return ApiError(answer.status, status.reason or "", status.message or "", verb=verb, path=path, retry_after=seconds)


def _unanswered(e: Exception, verb: str, path: str) -> ApiError:
    return ApiError(0, "", str(e) or type(e).__name__, verb=verb, path=path)
