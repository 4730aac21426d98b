"""OpenTelemetry access logs for fastgate: each request is a log record, sent in batches by OTLP over HTTP."""

from fastgate_otlp.config import Batch, OTLPLogsConfig, Retry
from fastgate_otlp.filter import OTLPLogs

__all__ = ["Batch", "OTLPLogs", "OTLPLogsConfig", "Retry"]
