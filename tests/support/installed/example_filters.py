"""Filters of the wire tests, as an installed distribution: plugin processes and workers find it on PYTHONPATH."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from fastgate import Context, Endpoint, Filter, Request, Response

if TYPE_CHECKING:
    from collections.abc import Sequence


class Named(BaseModel):
    name: str = "x-edit"
    value: str = "1"


class Edit(Filter[Named]):
    """Edits heads both ways, and notes what it saw."""

    async def on_request(self, request: Request, context: Context) -> None:
        request.headers["x-seen"] = f"{request.method} {request.path} {request.query} {request.headers.get('x-before')}"
        request.headers[self.config.name] = self.config.value
        request.headers.add("x-more", self.config.value)
        del request.headers["x-gone"]

    async def on_response(self, request: Request, context: Context, response: Response) -> None:
        response.headers["x-order"] = response.headers.get("x-order", "") + self.config.value
        response.headers["x-request"] = request.headers[self.config.name]
        response.headers.add("set-cookie", self.config.value)
        del response.headers["x-gone"]


class PlainEdit(Filter[Named]):
    """The same with `def`, of requests only."""

    def on_request(self, request: Request, context: Context) -> None:
        request.headers[self.config.name] = self.config.value


class Traced(Filter):
    """Says where in a trace a request comes from, and makes the next filter see another header."""

    async def on_request(self, request: Request, context: Context) -> None:
        trace = context.traceparent
        request.headers.add("x-trace", f"{trace.trace_id} {trace.span_id} {trace.flags}" if trace else "none")
        request.headers["traceparent"] = "other"


class Target(Filter):
    """Changes where the backend thinks it is."""

    async def on_request(self, request: Request, context: Context) -> None:
        request.path = "/changed"
        request.query = "n=1"
        request.authority = "changed.example.com"


class Status(BaseModel):
    status: int = 403


class Answer(Filter[Status]):
    async def on_request(self, request: Request, context: Context) -> Response:
        return Response(self.config.status, "no", {"x-by": "filter"})


class Page(Filter):
    """Makes a page of the gateway's own answers."""

    async def on_local_reply(self, request: Request, context: Context, response: Response) -> Response:
        return Response(response.status, f"<p>{response.reason}", {"content-type": "text/html"})


class KeptPage(Filter):
    """Answers with the same object every time."""

    page = Response(404, "kept")

    async def on_local_reply(self, request: Request, context: Context, response: Response) -> Response:
        return self.page


class Mark(Filter):
    async def on_local_reply(self, request: Request, context: Context, response: Response) -> None:
        response.headers.add("x-mark", "1")


class Pieces(Filter):
    async def on_request_body(self, request: Request, context: Context, chunk: bytes, end: bool) -> bytes:
        return chunk.upper() + (b"!" if end else b"")

    async def on_response_body(
        self, request: Request, context: Context, response: Response, chunk: bytes, end: bool
    ) -> bytes | None:
        return chunk + b"." if end else None


class Trailers(Filter[Named]):
    """Says behind a body which trailer fields it had."""

    async def on_request_body(self, request: Request, context: Context, chunk: bytes, end: bool) -> bytes | None:
        if not end:
            assert not request.trailers
            return None
        return chunk + repr(list(request.trailers.items())).encode()

    async def on_response_body(
        self, request: Request, context: Context, response: Response, chunk: bytes, end: bool
    ) -> bytes | None:
        if not end:
            assert not response.trailers
            return None
        return chunk + repr([list(x.trailers.items()) for x in (request, response)]).encode()


class Told(BaseModel):
    fields: dict[str, str | float] = {}
    counts: dict[str, int] = {}
    sleep: float = 0


class Tell(Filter[Told]):
    """Says and counts what it is configured to. At the response it withdraws the field `gone`, and says the status."""

    async def on_request(self, request: Request, context: Context) -> None:
        time.sleep(self.config.sleep)  # noqa: ASYNC251 - inline filters cannot wait otherwise
        context.log.update(self.config.fields)
        for name, n in self.config.counts.items():
            context.count(name, n)

    async def on_response(self, request: Request, context: Context, response: Response) -> None:
        context.log["status"] = response.status
        context.log.pop("gone", None)
        context.count("responses")

    async def on_log(self, request: Request, context: Context, response: Response) -> None:
        context.count("logged", 2)


class Where(BaseModel):
    file: str


class Log(Filter[Where]):
    def on_log(self, request: Request, context: Context, response: Response) -> None:
        assert context.outcome is not None
        line = f"{request.method} {request.path} {response.status} {context.outcome.bytes_received}\n"
        with Path(self.config.file).open("a") as file:
            file.write(line)


class Slow(Filter[Where]):
    """Waits for ever, and says how that ended."""

    async def on_request(self, request: Request, context: Context) -> None:
        file = Path(self.config.file)
        file.write_text("waits")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            file.write_text("cancelled")
            raise


class Life(Filter[Where]):
    """Notes its life, and the responses that it sees in it."""

    async def start(self) -> None:
        self._note("start")

    async def stop(self) -> None:
        self._note("stop")

    async def on_response(self, request: Request, context: Context, response: Response) -> None:
        self._note(request.path)

    async def on_log(self, request: Request, context: Context, response: Response) -> None:
        self._note("log")

    def _note(self, word: str) -> None:
        with Path(self.config.file).open("a") as file:
            file.write(word + "\n")


class Waits(Filter[Where]):
    """Waits once, in the phase that it is called in, until somebody who had opened a FIFO for writing closes it."""

    waited = False

    async def _wait(self) -> None:
        if self.waited:
            return
        self.waited = True
        fd = os.open(self.config.file, os.O_RDONLY | os.O_NONBLOCK)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    async def on_request(self, request: Request, context: Context) -> None:
        await self._wait()

    async def on_request_body(self, request: Request, context: Context, chunk: bytes, end: bool) -> None:
        await self._wait()

    async def on_upstream(self, request: Request, context: Context, endpoints: Sequence[Endpoint]) -> None:
        await self._wait()

    async def on_response(self, request: Request, context: Context, response: Response) -> None:
        await self._wait()

    async def on_response_body(
        self, request: Request, context: Context, response: Response, chunk: bytes, end: bool
    ) -> None:
        await self._wait()

    async def on_local_reply(self, request: Request, context: Context, response: Response) -> None:
        await self._wait()


class Blocks(Filter[Where]):
    """The same on the thread that calls it."""

    waited = False

    def _wait(self) -> None:
        if not self.waited:
            self.waited = True
            Path(self.config.file).read_bytes()

    def on_request(self, request: Request, context: Context) -> None:
        self._wait()

    def on_request_body(self, request: Request, context: Context, chunk: bytes, end: bool) -> None:
        self._wait()

    def on_upstream(self, request: Request, context: Context, endpoints: Sequence[Endpoint]) -> None:
        self._wait()

    def on_response(self, request: Request, context: Context, response: Response) -> None:
        self._wait()

    def on_response_body(self, request: Request, context: Context, response: Response, chunk: bytes, end: bool) -> None:
        self._wait()

    def on_local_reply(self, request: Request, context: Context, response: Response) -> None:
        self._wait()


class Held(Filter[Where]):
    """Waits with a response until somebody has written to a FIFO."""

    def on_response(self, request: Request, context: Context, response: Response) -> None:
        Path(self.config.file).read_bytes()


class How(BaseModel):
    how: str


KEPT: list[Request] = []


def fail(_: Request) -> None:
    raise RuntimeError("wrong")


def leave(_: Request) -> None:
    os._exit(3)


def segfault(_: Request) -> None:
    ctypes.string_at(0)


def loop(_: Request) -> None:
    while True:
        pass


def block(_: Request) -> None:
    time.sleep(3600)


def garbage(_: Request) -> None:
    KEPT.append(bytearray(1 << 30))  # type: ignore[arg-type]
    for at in range(0, 1 << 30, 4096):
        KEPT[-1][at] = 1  # type: ignore[index]


def forget(_: Request) -> object:
    asyncio.sleep(0)  # a forgotten await
    return asyncio.Event


def keep(request: Request) -> Response | None:
    stale = [kept for kept in KEPT if kept is not request]
    KEPT.append(request)
    return Response(200, stale[0].path) if stale else None


def split(request: Request) -> None:
    request.headers["x-a"] = "1\r\nx-b: 2"


def wrong_type(_: Request) -> object:
    return "no response"


def system(_: Request) -> None:
    raise SystemExit(3)


_WAYS = {
    "block": block,
    "exit": leave,
    "forget": forget,
    "garbage": garbage,
    "keep": keep,
    "loop": loop,
    "raise": fail,
    "segfault": segfault,
    "split": split,
    "system": system,
    "type": wrong_type,
}


class Misbehave(Filter[How]):
    """Does one thing wrong, for requests that ask for it."""

    async def on_request(self, request: Request, context: Context) -> Response | None:
        if "x-misbehave" in request.headers:
            return _WAYS[self.config.how](request)
        request.headers["x-behaved"] = "yes"
        return None


class Wrap(Filter):
    """Sees whole bodies."""

    buffer_body = 65536

    async def on_request(self, request: Request, context: Context) -> None:
        if request.body is not None:
            request.headers["x-size"] = str(len(request.body))
            request.headers["x-trailers"] = repr(list(request.trailers.items()))
            request.body = b"[" + request.body + b"]"


class Port(BaseModel):
    port: int


class Choose(Filter[Port]):
    """Sends requests to the endpoint with a port, when they ask for it."""

    async def on_upstream(self, request: Request, context: Context, endpoints: Sequence[Endpoint]) -> Endpoint | None:
        if "x-choose" not in request.headers:
            return None
        return next((one for one in endpoints if one.port == self.config.port), Endpoint("", "127.0.0.1", 1))
