"""The admin pages of a gateway: /healthz, /readyz, /metrics, /status and /config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.admin import metrics, plugged, views
from fastgate.admin.listener import AdminListener, as_json, text
from fastgate.translate.expiry import certificates_of

if TYPE_CHECKING:
    from fastgate.admin.listener import Answer
    from fastgate.runtime import Runtime


class AdminServer(AdminListener):
    """Shows a runtime."""

    def __init__(self, runtime: Runtime) -> None:
        """Show this runtime; `start` listens."""
        super().__init__(
            {
                "/healthz": lambda: text(200, "ok"),
                "/readyz": self._ready,
                "/metrics": lambda: (200, metrics.CONTENT_TYPE, self._metrics()),
                "/status": lambda: as_json(views.status(runtime)),
                "/config": lambda: as_json(views.configuration(runtime)),
            }
        )
        self._runtime = runtime
        self.draining = False

    def _ready(self) -> Answer:
        is_ready, why = views.ready(self._runtime, draining=self.draining)
        return text(200 if is_ready else 503, why)

    def _metrics(self) -> str:
        manager = self._runtime.manager
        is_ready, _ = views.ready(self._runtime, draining=self.draining)
        totals = manager.statistics.totals()
        if manager.sinks is not None:
            totals.counters["log_sink_dropped"] += manager.sinks.dropped
        own = metrics.exposition(
            totals, manager.statistics.own, manager.health.endpoints(), self._runtime.last_reload,
            certificates_of(self._runtime.translation.ir) if self._runtime.translation is not None else (),
            ready=is_ready,
        )  # fmt: skip
        return own + plugged.exposition(self._runtime.hooks.collect("fastgate_metrics"))
