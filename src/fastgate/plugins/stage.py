"""The filters of one stage, running: started, called phase by phase, stopped after their last request.

The same code runs offloaded, as a task of an event loop whose threads take `def` callbacks, and inline, where a
callback has to end without waiting for anything.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

from fastgate.core import calls, filters
from fastgate.plugins import wire
from fastgate.plugins.context import Outcome
from fastgate.plugins.discovery import PluginProblem
from fastgate.plugins.identity import Endpoint
from fastgate.plugins.response import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from fastgate.plugins.discovery import Catalog
    from fastgate.plugins.filter import Filter

    Threads = Callable[..., Awaitable[Any]]  # runs a `def` callback with these arguments elsewhere
    _Callback = tuple["_Member", Callable[..., Any], Threads | None]
    _Step = tuple["_Member", Callable[..., Any], Threads | None, tuple[Any, ...], type[Any]]
    _Steps = Generator[_Step, Any, bytes]

log = logging.getLogger("fastgate.filter")

REQUEST, REQUEST_BODY, UPSTREAM, RESPONSE, RESPONSE_BODY, LOCAL_REPLY, LOG = range(len(filters.PHASES))
DENIED = object()  # in the place of a result: the filter failed, and may not be skipped
_LOG_INTERVAL = 1.0  # seconds between two log lines of a kind about one filter
_SLOW = 0.5  # share of its timeout after which a call is slow


class StageError(Exception):
    """The filters of a stage cannot be made or started; the message says why."""


class _Lines:
    """Log lines of a kind, a bounded number of them."""

    __slots__ = ("_last", "_since")

    def __init__(self) -> None:
        self._last = -math.inf
        self._since = 0

    def due(self) -> int:
        """How many times there was something to log since the last line, now included; 0: there is no line now."""
        self._since += 1
        now = time.monotonic()
        if now - self._last < _LOG_INTERVAL:
            return 0
        count, self._since, self._last = self._since, 0, now
        return count


class _Member:
    """One Filter of a stage."""

    __slots__ = ("_failures", "_slow_calls", "deny", "filter", "name", "position", "slow_after", "timeout", "type")

    def __init__(self, position: int, document: dict[str, Any], catalog: Catalog) -> None:
        self.position = position
        self.name: str = document["name"]
        self.deny: bool = document["deny"]
        self.type: str = document["type"]
        self.timeout: float = document["timeout"] / 1000
        self.slow_after = self.timeout * _SLOW
        self._failures, self._slow_calls = _Lines(), _Lines()
        config = json.loads(document["config"])
        found = catalog.check(self.type, config)
        if isinstance(found, PluginProblem):
            raise StageError(f"Filter {self.name}: {found.message}")
        try:
            self.filter: Filter[Any] = found.instance(config)
        except Exception as e:
            raise StageError(f"Filter {self.name}: {type(e).__name__}: {e}") from e

    def failed(self, error: BaseException, call: filters.Call) -> object:
        """Log a failure. DENIED, or None when the filter may be skipped."""
        if count := self._failures.due():
            more = f" ({count} failures since the last line)" if count > 1 else ""
            log.error("Filter %s: request %s: %s: %s%s", self.name, call.text(wire.ID), type(error).__name__, error,
                      more, exc_info=error if not isinstance(error, TypeError | ValueError) else None)  # fmt: skip
        return DENIED if self.deny else None

    def slow(self, took: float, call: filters.Call) -> None:
        """Log a call that took longer than `slow_after`, in seconds."""
        if count := self._slow_calls.due():
            more = f" ({count} slow calls since the last line)" if count > 1 else ""
            log.warning("Filter %s: request %s: on_%s took %.3f s of its timeout of %.3f s%s", self.name,
                        call.text(wire.ID), filters.PHASES[call.phase], took, self.timeout, more)  # fmt: skip


class Stage(calls.StageBase):
    """The running filters of a stage."""

    def __init__(self, spec: str, catalog: Catalog, threads: Threads | None = None) -> None:
        """Make the filters.

        Args:
            spec: JSON, as `fastgate.stages` writes it.
            catalog: where the filters' classes are found.
            threads: runs `def` callbacks; None runs them here.

        Raises:
            StageError: one of them cannot be made.
        """
        self._members = [_Member(n, document, catalog) for n, document in enumerate(json.loads(spec))]
        self._threads = threads
        self._on_request = self._callbacks("request")
        self._on_upstream = self._callbacks("upstream")
        self._on_response = self._callbacks("response")[::-1]
        self._on_request_body = self._callbacks("request_body")
        self._on_response_body = self._callbacks("response_body")[::-1]
        self._on_local_reply = self._callbacks("local_reply")[::-1]
        self._on_log = self._callbacks("log")[::-1]

    @property
    def busy(self) -> bool:
        """Whether exchanges that it knows go on."""
        return bool(self._exchanges)

    async def start(self) -> None:
        """Start the filters. StageError: one could not; those before it are stopped."""
        started: list[_Member] = []
        for member in self._members:
            try:
                await self._life(member, member.filter.start)
            except Exception as e:
                for other in reversed(started):
                    await self._end(other)
                raise StageError(f"Filter {member.name} did not start: {type(e).__name__}: {e}") from e
            started.append(member)

    async def stop(self) -> None:
        """Stop the filters; what one does wrong then is logged."""
        for member in reversed(self._members):
            await self._end(member)
        for exchange in self._exchanges.values():
            exchange.close()
        self._exchanges.clear()

    def end(self, number: int) -> None:
        """Let go of an exchange that is over."""
        exchange = self._exchanges.pop(number, None)
        if exchange is not None:
            exchange.close()

    async def run(self, call: filters.Call) -> bytes:
        """Run a call and return its verdict. Nothing that a filter does is raised.

        Without threads it waits for nothing (see `driven`): a filter that does has failed.
        """
        exchange = self._entered(call)
        counts = exchange.context.counts  # which outlive the context, when the exchange ends before the call
        try:
            steps = self._phases[call.phase](self, call, exchange)
            result: Any = None
            while True:
                try:
                    member, method, elsewhere, arguments, returns = steps.send(result)
                except StopIteration as end:
                    return _reported(call, exchange, end.value)
                exchange.context.filter = member.name
                failed = False
                call.enter()
                try:
                    result = method(*arguments) if elsewhere is None else elsewhere(method, *arguments)
                    if result is not None:
                        if hasattr(result, "__await__"):
                            result = await result if self._threads is not None else calls.driven(result)
                        _check(result, returns)
                except Exception as e:  # noqa: BLE001 - whatever a filter does
                    failed = True
                    result = member.failed(e, call)
                finally:  # also when it is cancelled
                    took = call.leave(member.position)
                    if failed:
                        call.fail()
                    if took > member.slow_after:
                        member.slow(took, call)
                    if counts:
                        call.count(member.position, counts)
                        counts.clear()
        finally:
            self._left(call, exchange)

    # --- phases: generators of the calls to make, which are sent what came of each, and return a verdict -------------

    def _request(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        request = exchange.request
        before = len(request.journal)
        for callback in self._on_request:
            answer = yield (*callback, (request, exchange.context), Response)
            if answer is DENIED:
                return wire.failed(call)
            if answer is not None:
                return wire.answered(call, answer)
        return wire.edited(call, request.journal[before:] if before else request.journal, request)

    def _upstream(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        """The last filter that chooses has the last word."""
        endpoints = wire.endpoints_of(call)
        chosen: Endpoint | None = None
        for callback in self._on_upstream:
            answer = yield (*callback, (exchange.request, exchange.context, endpoints), Endpoint)
            if answer is DENIED:
                return wire.failed(call)
            chosen = chosen if answer is None else answer
        return wire.passed(call) if chosen is None else wire.chosen(call, chosen)

    def _response(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        journal = wire.earlier_edits(call, response=True)
        response = exchange.response = Response._over(wire.ResponseRecord(call), journal)  # noqa: SLF001
        before = len(journal)
        for callback in self._on_response:
            answer = yield (*callback, (exchange.request, exchange.context, response), Response)
            if answer is DENIED:
                return wire.failed(call)
            if answer is not None:
                return wire.answered(call, answer)
        return wire.edited(call, response.journal[before:], response)

    def _body(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        given = piece = call.body
        arguments: tuple[Any, ...] = (exchange.request, exchange.context)
        callbacks = self._on_request_body
        if call.phase == RESPONSE_BODY:
            if exchange.response is None:
                exchange.response = Response._over(wire.ResponseRecord(call), [])  # noqa: SLF001
            arguments, callbacks = (*arguments, exchange.response), self._on_response_body
        for callback in callbacks:
            result = yield (*callback, (*arguments, piece, call.last), bytes)
            if result is DENIED:
                return wire.failed(call)
            piece = piece if result is None else result
        return wire.passed(call) if piece is given else wire.replaced(call, piece)

    def _local_reply(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        """Who would deny has nothing to deny here: the answer stays as it was before."""
        response = exchange.response = Response._over(wire.ReplyRecord(call), [])  # noqa: SLF001
        changed = False
        for callback in self._on_local_reply:
            answer = yield (*callback, (exchange.request, exchange.context, response), Response)
            if answer is DENIED:
                continue
            changed |= bool(response.journal) or answer is not None
            if answer is not None:  # a copy: the filter may return the same object again
                response = exchange.response = answer.copy()
        return wire.answered(call, response) if changed else wire.passed(call)

    def _log(self, call: filters.Call, exchange: calls.Exchange) -> _Steps:
        if exchange.response is None:
            exchange.response = Response._over(wire.ResponseRecord(call), [])  # noqa: SLF001
        exchange.context.outcome = Outcome(call.duration, call.received, call.sent)
        for callback in self._on_log:
            yield (*callback, (exchange.request, exchange.context, exchange.response), type(None))
        return b""

    _phases: ClassVar = {
        REQUEST: _request,
        REQUEST_BODY: _body,
        UPSTREAM: _upstream,
        RESPONSE: _response,
        RESPONSE_BODY: _body,
        LOCAL_REPLY: _local_reply,
        LOG: _log,
    }

    def _callbacks(self, phase: str) -> tuple[_Callback, ...]:
        return tuple(
            (member, getattr(member.filter, f"on_{phase}"), self._elsewhere(member))
            for member in self._members
            if any(one.value == phase for one in member.filter.phases())
        )

    def _elsewhere(self, member: _Member) -> Threads | None:
        return None if member.filter.is_async() else self._threads

    async def _life(self, member: _Member, method: Callable[[], Any]) -> None:
        elsewhere = self._elsewhere(member)
        result = method() if elsewhere is None else elsewhere(method)
        if hasattr(result, "__await__"):
            await result

    async def _end(self, member: _Member) -> None:
        try:
            await self._life(member, member.filter.stop)
        except Exception:
            log.exception("Filter %s did not stop", member.name)


def _reported(call: filters.Call, exchange: calls.Exchange, verdict: bytes) -> bytes:
    """A verdict with what its filters have said about the exchange."""
    if exchange.context._log is not None:  # noqa: SLF001 - of this package
        call.say(exchange.context._log._news())  # noqa: SLF001
    return call.reported(verdict)


def _check(result: object, returns: type[Any]) -> None:
    if result is not None and not isinstance(result, returns):
        raise TypeError(f"it returned a {type(result).__name__}, not a {returns.__name__} or None")
