"""What active health checks found: one worker probes an endpoint and reports changes, the others are told."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgate.control import Message, Type
from fastgate.core import snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.ir import Endpoint, Ir
    from fastgate.workers import Worker

log = logging.getLogger(__name__)

LINES, PERIOD = 20, 10.0  # of the log: at most so many changes in so many seconds


@dataclass(frozen=True, slots=True)
class Checked:
    """An endpoint of a cluster with an active check, and why its state is as it is."""

    cluster: str
    endpoint: Endpoint
    healthy: bool
    why: str  # "" until it changed for the first time


class Health:
    """The verdicts, by the key of a check of an endpoint (csrc/fg_health.c): they hold over reloads and workers."""

    def __init__(self) -> None:
        """Start with everything healthy."""
        self._verdicts: dict[int, tuple[bool, str]] = {}
        self._checked: dict[int, list[tuple[str, Endpoint]]] = {}
        self._lines: list[float] = []
        self._unlogged = 0
        self.changes = 0

    def heard(self, message: Message) -> None:
        """Take over a HEALTH_CHANGED."""
        healthy = bool(message.a)
        self._verdicts[message.key] = healthy, message.text
        self.changes += 1
        now = time.monotonic()
        self._lines = [line for line in self._lines if now - line < PERIOD]
        if len(self._lines) >= LINES:
            self._unlogged += 1
            return
        self._lines.append(now)
        if self._unlogged:
            log.warning("%d changes of health were not logged", self._unlogged)
            self._unlogged = 0
        clusters = ", ".join(cluster for cluster, _ in self._checked.get(message.key, ()))
        log.log(
            logging.INFO if healthy else logging.WARNING,
            "endpoint of %s is %s: %s",
            clusters or "a new cluster",
            "healthy" if healthy else "unhealthy",
            message.text,
        )

    def follow(self, config: Ir | None, endpoints: Mapping[str, tuple[Endpoint, ...]]) -> None:
        """Note what is checked under this configuration, and forget the rest."""
        self._checked = {}
        for cluster in config.clusters if config is not None else ():
            if cluster.health_check is not None:
                for endpoint in endpoints.get(cluster.key, ()):
                    key = snapshot.health_key(cluster, endpoint)
                    self._checked.setdefault(key, []).append((cluster.key, endpoint))
        self._verdicts = {key: verdict for key, verdict in self._verdicts.items() if key in self._checked}

    def tell(self, worker: Worker) -> None:
        """Tell a worker every verdict: it may have missed some."""
        for key, (healthy, _) in self._verdicts.items():
            worker.send(Message(Type.HEALTH, key, a=healthy))

    def endpoints(self) -> list[Checked]:
        """Return every checked endpoint, by cluster and address."""
        found = [
            Checked(cluster, endpoint, *self._verdicts.get(key, (True, "")))
            for key, places in self._checked.items()
            for cluster, endpoint in places
        ]
        return sorted(found, key=lambda one: (one.cluster, one.endpoint))
