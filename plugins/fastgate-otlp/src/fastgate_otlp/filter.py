"""The filter: makes a record of each request and hands it to the exporter."""

from __future__ import annotations

import os
import socket
import ssl
import uuid
from importlib.metadata import version

import httpx
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

import fastgate
from fastgate_otlp.config import OTLPLogsConfig
from fastgate_otlp.exporter import Exporter, Target
from fastgate_otlp.records import key_values, record


class OTLPLogs(fastgate.Filter[OTLPLogsConfig]):
    """Sends a log record of each request to an OpenTelemetry collector."""

    _exporter: Exporter
    _counted: tuple[int, int] = (0, 0)  # records dropped and lost that counters know of

    async def start(self) -> None:
        """Start the exporter."""
        config = self.config
        verify = ssl.create_default_context(cadata=config.ca.value) if config.ca is not None else True
        client = httpx.AsyncClient(verify=verify, timeout=config.timeout_seconds, trust_env=False)
        self._exporter = Exporter(_target(config), client, config.batch, config.retry)
        self._exporter.start()

    async def stop(self) -> None:
        """Send what is left, and stop the exporter."""
        await self._exporter.stop()

    async def on_log(self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response) -> None:
        """Queue the request's record."""
        exporter = self._exporter
        exporter.put(record(self.config, request, context, response))
        context.count("otlp_records")
        dropped, lost = self._counted
        if (dropped, lost) != (exporter.dropped, exporter.lost):
            context.count("otlp_dropped", exporter.dropped - dropped)
            context.count("otlp_lost", exporter.lost - lost)
            self._counted = (exporter.dropped, exporter.lost)


def _target(config: OTLPLogsConfig) -> Target:
    resource = {
        "service.name": "fastgate",
        "service.version": fastgate.__version__,
        "service.instance.id": str(uuid.uuid4()),
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        **config.resource,
    }
    return Target(
        url=str(config.endpoint),
        headers={name: value if isinstance(value, str) else value.value for name, value in config.headers.items()},
        gzip=config.compression == "gzip",
        timeout=config.timeout_seconds,
        resource=Resource(attributes=key_values(resource.items())),
        scope=InstrumentationScope(name="fastgate-otlp", version=version("fastgate-otlp")),
    )
