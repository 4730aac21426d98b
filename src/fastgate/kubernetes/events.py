"""Events (events.k8s.io/v1): what a user must see of an object, where `kubectl describe` shows it.

They are told best effort, at most so many a second. What is told again of the same object is counted in the Event that
is there (its series), which is written from time to time only.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.client import MERGE_PATCH, ApiError

if TYPE_CHECKING:
    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.decoding import Stored
    from fastgate.store import Key

log = logging.getLogger(__name__)

AT_ONCE, PER_SECOND = 50, 10.0  # Events: a burst, and what follows it
SERIES = 30.0  # seconds between two writes of one Event
REMEMBERED = 2048  # Events that can be counted on
WAITING = 1000  # Events that wait to be written; what comes above is dropped
_NOTE_CHARACTERS, _INSTANCE_CHARACTERS, _NAME_CHARACTERS = 1024, 128, 253  # what an API server takes
_COMPLAINTS = 20
_NOT_FOUND = 404


@dataclass(slots=True)
class _Told:
    """One Event, and how often it was told."""

    document: dict[str, Any]
    count: int = 1
    is_stored: bool = False
    is_waiting: bool = False
    written_at: float = float("-inf")

    @property
    def collection(self) -> str:
        """The path it is created at."""
        return f"/apis/events.k8s.io/v1/namespaces/{self.document['metadata']['namespace']}/events"


class Events:
    """Tells Events in the name of one process."""

    def __init__(self, client: Client, controller: str, instance: str) -> None:
        """Tell as this process of this controller."""
        self._client = client
        self._reporter = {"reportingController": controller, "reportingInstance": instance[:_INSTANCE_CHARACTERS]}
        self._told: dict[tuple[str, str, str], _Told] = {}  # by UID, reason and note; what was told last is last
        self._due: deque[_Told] = deque()
        self._news = asyncio.Event()
        self._budget, self._counted_at = float(AT_ONCE), float("-inf")
        self._complained: set[str] = set()

    def tell(self, key: Key, stored: Stored, reason: str, note: str, *, is_warning: bool) -> None:
        """Tell something of an object."""
        note = note if len(note) <= _NOTE_CHARACTERS else f"{note[: _NOTE_CHARACTERS - 3]}..."
        same = (stored.resource.metadata.uid or "", reason, note)
        told = self._told.pop(same, None)
        if told is None:
            told = _Told(self._document(key, stored, reason, note, is_warning=is_warning))
        else:
            told.count += 1
        self._told[same] = told
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        if not told.is_waiting:
            told.is_waiting = True
            loop = asyncio.get_running_loop()
            loop.call_at(max(loop.time(), told.written_at + SERIES), self._enqueue, told)

    async def run(self) -> None:
        """Write until cancelled. Nothing is raised for what an API server does."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._due:
                await self._turn()
                told = self._due.popleft()
                told.is_waiting = False
                try:
                    await self._write(told)
                except ApiError as e:
                    self._complain(f"an Event was not written: {e}")

    def _enqueue(self, told: _Told) -> None:
        if len(self._due) < WAITING:
            self._due.append(told)
            self._news.set()
        else:
            told.is_waiting = False
            self._complain("there are more Events than may be written: some are not told")

    async def _turn(self) -> None:
        """Wait until one more may be written."""
        loop = asyncio.get_running_loop()
        earned = (loop.time() - self._counted_at) * PER_SECOND
        self._budget, self._counted_at = min(self._budget + earned, float(AT_ONCE)), loop.time()
        self._budget -= 1
        if self._budget < 0:
            await asyncio.sleep(-self._budget / PER_SECOND)

    async def _write(self, told: _Told) -> None:
        told.written_at = asyncio.get_running_loop().time()
        if told.is_stored:
            series = {"series": {"count": told.count, "lastObservedTime": _now()}}
            path = f"{told.collection}/{told.document['metadata']['name']}"
            try:
                await self._client.request(
                    "patch", "PATCH", path, body=msgspec.json.encode(series), content_type=MERGE_PATCH
                )
            except ApiError as e:
                if e.status != _NOT_FOUND:  # an API server keeps Events for an hour
                    raise
            else:
                return
        await self._client.request("create", "POST", told.collection, body=msgspec.json.encode(told.document))
        told.is_stored = True

    def _document(self, key: Key, stored: Stored, reason: str, note: str, *, is_warning: bool) -> dict[str, Any]:
        kind, namespace, name = key
        regarding = {"apiVersion": stored.api_version, "kind": kind, "name": name, "uid": stored.resource.metadata.uid}
        if namespace:
            regarding["namespace"] = namespace
        unique = f".{secrets.token_hex(8)}"
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name[: _NAME_CHARACTERS - len(unique)] + unique, "namespace": namespace or "default"},
            "eventTime": _now(),
            "type": "Warning" if is_warning else "Normal",
            "action": "Serve",
            "reason": reason,
            "note": note,
            "regarding": regarding,
            **self._reporter,
        }

    def _complain(self, what: str) -> None:
        if what not in self._complained and len(self._complained) < _COMPLAINTS:
            self._complained.add(what)
            log.warning("%s", what)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
