"""Batches of records on their way to a collector: OTLP over HTTP in protobuf, tried again, never waited for."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import random
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import httpx
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from fastgate_otlp.config import Batch, Retry

log = logging.getLogger("fastgate.filter.otlp")

_RETRYABLE = (429, 502, 503, 504)  # OTLP/HTTP, "Failures": no other status is
_LONGEST_ANSWER = 65_536  # bytes that are read of one
_SAY_INTERVAL = 10.0  # seconds between two log lines


@dataclass(frozen=True, slots=True)
class Target:
    """Where records go and what they are from."""

    url: str
    headers: Mapping[str, str]
    gzip: bool
    timeout: float
    resource: Resource
    scope: InstrumentationScope


class _RefusedError(Exception):
    """The collector does not take these records, now or later."""


class _LaterError(Exception):
    """The collector may take the records later: after `wait` seconds, when it says so."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


class Exporter:
    """A bounded queue, and the task that empties it.

    Attributes:
        dropped: records that found the queue full.
        lost: records that were queued, and that the collector did not take.
    """

    def __init__(self, target: Target, client: httpx.AsyncClient, batch: Batch, retry: Retry) -> None:
        """Send with this client, which is the exporter's from now on."""
        self.dropped = 0
        self.lost = 0
        self._target = target
        self._client = client
        self._batch = batch
        self._retry = retry
        self._queue: deque[LogRecord] = deque()
        self._full = asyncio.Event()  # a batch is, or it stops
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said = float("-inf")

    def start(self) -> None:
        """Begin to send, on the running loop."""
        self._task = asyncio.create_task(self._run(), name="otlp-exporter")

    async def stop(self) -> None:
        """Send what is queued, within one timeout, and end."""
        self._stopping.set()
        self._full.set()
        task, self._task = self._task, None
        if task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._target.timeout):
                    await task
        left = len(self._queue)
        self._queue.clear()
        if left:
            self._lose(left, "the filter stopped")
        await self._client.aclose()

    def put(self, record: LogRecord) -> None:
        """Queue a record, or drop it."""
        if len(self._queue) >= self._batch.max_queue:
            self.dropped += 1
            self._say("the queue of %d records is full; %d were dropped so far", self._batch.max_queue, self.dropped)
            return
        self._queue.append(record)
        if len(self._queue) >= self._batch.max_records:
            self._full.set()

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._batch.interval_seconds):
                    await self._full.wait()
            stopping = self._stopping.is_set()
            self._full.clear()
            waited = len(self._queue)  # those that come meanwhile wait for others, unless they fill a batch
            while waited > 0 or len(self._queue) >= self._batch.max_records or (self._queue and stopping):
                waited -= await self._deliver()

    async def _deliver(self) -> int:
        """Send one batch until it is taken or given up. Its records are in the queue meanwhile: they count."""
        size = min(len(self._queue), self._batch.max_records)
        body = self._encoded(list(islice(self._queue, size)))
        give_up = time.monotonic() + self._retry.give_up_seconds
        delay = self._retry.initial_seconds
        while True:
            last = self._stopping.is_set()
            try:
                await self._send(body)
                break
            except _RefusedError as e:
                self._lose(size, str(e))
                break
            except _LaterError as e:
                wait = random.uniform(delay / 2, delay) if e.wait is None else e.wait  # noqa: S311 - spreads load
                if last or time.monotonic() + wait > give_up:
                    self._lose(size, str(e))
                    break
                self._say("%s; %d records wait", e, len(self._queue))
                await self._pause(wait)
                delay = min(delay * 2, self._retry.max_seconds)
        for _ in range(size):
            self._queue.popleft()
        return size

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _encoded(self, records: list[LogRecord]) -> bytes:
        logs = ResourceLogs(
            resource=self._target.resource, scope_logs=[ScopeLogs(scope=self._target.scope, log_records=records)]
        )
        body = ExportLogsServiceRequest(resource_logs=[logs]).SerializeToString()
        return gzip.compress(body, compresslevel=1) if self._target.gzip else body

    async def _send(self, body: bytes) -> None:
        """Send a batch once. _RefusedError, _LaterError: it was not taken."""
        headers = {**self._target.headers, "content-type": "application/x-protobuf"}
        if self._target.gzip:
            headers["content-encoding"] = "gzip"
        try:
            async with asyncio.timeout(self._target.timeout):
                request = self._client.stream("POST", self._target.url, content=body, headers=headers)
                async with request as response:
                    answer = bytearray()
                    async for piece in response.aiter_bytes():
                        answer += piece
                        if len(answer) > _LONGEST_ANSWER:
                            break
        except TimeoutError:
            raise _LaterError(f"no answer of {self._target.url} within {self._target.timeout} s") from None
        except httpx.HTTPError as e:
            raise _LaterError(f"{self._target.url}: {type(e).__name__}: {e}") from e
        if response.status_code in _RETRYABLE:
            wait = response.headers.get("retry-after", "")
            raise _LaterError(
                f"{self._target.url} answered {response.status_code}", float(wait) if wait.isdecimal() else None
            )
        if not response.is_success:
            raise _RefusedError(f"{self._target.url} answered {response.status_code}")
        self._read(bytes(answer))

    def _read(self, answer: bytes) -> None:
        with contextlib.suppress(DecodeError):
            partial = ExportLogsServiceResponse.FromString(answer).partial_success
            if partial.rejected_log_records > 0:
                self._lose(partial.rejected_log_records, f"{self._target.url} rejected some: {partial.error_message}")

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        self._say("%d records are lost: %s; %d so far", count, why, self.lost)

    def _say(self, message: str, *arguments: object) -> None:
        now = time.monotonic()
        if now - self._said >= _SAY_INTERVAL:
            self._said = now
            log.warning(message, *arguments)
