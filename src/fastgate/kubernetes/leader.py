"""Which replica writes: the holder of a Lease (coordination.k8s.io/v1).

Clocks of replicas are never compared. A candidate measures on its own clock for how long the Lease did not change; the
holder stops to write a margin before the others can take the Lease for expired, counted from before its last renewal
was sent. Traffic does not depend on it: every replica serves.

The official client's election compares its clock with the other's `renewTime`, and goes on as leader while a renewal
hangs.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.client import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.kubernetes.client import Client

log = logging.getLogger("fastgate")

DURATION = 6  # seconds without a renewal after which a Lease is anybody's
RENEW = 2.0  # seconds between renewals
LOOK = 0.8  # seconds between looks of the others
LATE = 3.5  # seconds without a renewal after which a holder may be gone
MARGIN = 1.0  # seconds before that in which the holder writes no more
ADDRESS = "fastgate.dev/data-planes"  # annotation: where the holder takes data planes
_FORBIDDEN, _NOT_FOUND = 403, 404


@dataclass(frozen=True, slots=True)
class _Seen:
    """The Lease as it was seen last, and when it came to be so on our clock."""

    resource_version: str
    holder: str
    duration: float
    transitions: int
    since: float
    address: str


class Leader:
    """One candidate for a Lease.

    Attributes:
        on_lead: called when this candidate may write from now on.
        on_rest: called when it may not any more.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        address: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Be a candidate.

        Args:
            client: of the API server.
            namespace: of the Lease.
            name: of the Lease.
            identity: of this candidate; no other one has it.
            address: where this candidate is to be spoken to while it leads; told by the Lease.
            clock: seconds that only grow.
        """
        self.on_lead: Callable[[], None] = lambda: None
        self.on_rest: Callable[[], None] = lambda: None
        self._client = client
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._metadata: dict[str, Any] = {"namespace": namespace, "name": name}
        if address:
            self._metadata["annotations"] = {ADDRESS: address}
        self._identity = identity
        self._clock = clock
        self._seen: _Seen | None = None
        self._until = float("-inf")  # on our clock, when we have to stop
        self._leads = False  # as it was told last
        self._acquired = ""
        self._complained = ""

    def writes(self) -> bool:
        """Say whether this candidate may write now."""
        return self._clock() < self._until

    def whereabouts(self) -> str | None:
        """Say where the holder is to be spoken to: "" here, None nowhere that is known.

        One that is late with its renewal may be gone: who is sent there would wait for an answer.
        """
        if self.writes():
            return ""
        seen = self._seen
        if seen is None or seen.holder in ("", self._identity) or self._clock() - seen.since > LATE:
            return None
        return seen.address or None

    async def run(self) -> None:
        """Acquire the Lease and renew it, until cancelled. Nothing is raised for what an API server does."""
        while True:
            try:
                async with asyncio.timeout(RENEW):
                    await self.attempt()
                self._complained = ""
            except (ApiError, msgspec.MsgspecError, TimeoutError) as e:
                self._complain(str(e) or "the API server did not answer in time")
            await asyncio.sleep(self._pause() * random.uniform(0.8, 1.0))  # noqa: S311 - so that candidates fall out of step

    def _pause(self) -> float:
        """Return the seconds until the next attempt. Who waits looks more often, and misses a late holder soon."""
        return RENEW if self.writes() else LOOK

    async def attempt(self) -> None:
        """Renew the Lease, or acquire it when it is nobody's."""
        try:
            await self._attempt()
        finally:
            was_leading, self._leads = self._leads, self.writes()
            if self._leads and not was_leading:
                log.info("%s leads", self._identity)
                self.on_lead()
            elif was_leading and not self._leads:
                self.on_rest()

    async def _attempt(self) -> None:
        now = self._clock()
        await self._look(now)
        seen = self._seen
        if seen is None:
            await self._write("create", "POST", self._collection, now, transitions=0)
        elif seen.holder in ("", self._identity) or now - seen.since > seen.duration:
            transitions = seen.transitions + (seen.holder != self._identity)
            path = f"{self._collection}/{self._metadata['name']}"
            await self._write("update", "PUT", path, now, transitions=transitions, version=seen.resource_version)
        else:
            self._until = float("-inf")  # somebody else's
            return
        self._until = now + DURATION - MARGIN

    async def release(self) -> None:
        """Let another candidate have the Lease at once, if it is ours."""
        seen, leading = self._seen, self.writes()
        self._until = float("-inf")
        if not leading or seen is None:
            return
        path = f"{self._collection}/{self._metadata['name']}"
        document = self._document(holder="", transitions=seen.transitions, version=seen.resource_version)
        try:
            await self._client.request("update", "PUT", path, body=msgspec.json.encode(document))
        except ApiError as e:
            log.info("%s", e)

    async def _look(self, now: float) -> None:
        path = f"{self._collection}/{self._metadata['name']}"
        try:
            self._see(await self._client.request("get", "GET", path), now)
        except ApiError as e:
            if e.status != _NOT_FOUND:
                raise
            self._seen = None

    async def _write(
        self, verb: str, method: str, path: str, now: float, *, transitions: int, version: str | None = None
    ) -> None:
        if self._seen is None or self._seen.holder != self._identity:
            self._acquired = _micro_time()
        document = self._document(holder=self._identity, transitions=transitions, version=version)
        self._see(await self._client.request(verb, method, path, body=msgspec.json.encode(document)), now)

    def _see(self, body: bytes, now: float) -> None:
        document = msgspec.json.decode(body)
        spec, metadata = document.get("spec") or {}, document["metadata"]
        version, address = metadata["resourceVersion"], (metadata.get("annotations") or {}).get(ADDRESS, "")
        before = self._seen
        since = before.since if before is not None and before.resource_version == version else now
        duration = float(spec.get("leaseDurationSeconds") or DURATION)
        transitions = spec.get("leaseTransitions") or 0
        self._seen = _Seen(version, spec.get("holderIdentity") or "", duration, transitions, since, address)

    def _document(self, *, holder: str, transitions: int, version: str | None) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**self._metadata, **({"resourceVersion": version} if version is not None else {})},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": DURATION,
                "acquireTime": self._acquired or _micro_time(),
                "renewTime": _micro_time(),
                "leaseTransitions": transitions,
            },
        }

    def _complain(self, reason: str) -> None:
        if reason != self._complained:
            self._complained = reason
            log.warning("the Lease: %s", reason)


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
