"""A small OTLP/HTTP receiver: decodes what it gets, and answers as it is told."""

import asyncio
import contextlib
import gzip
import queue
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse


@dataclass
class Export:
    """One request that came."""

    path: str
    headers: dict[str, str]
    request: ExportLogsServiceRequest

    @property
    def records(self):
        (resource,) = self.request.resource_logs
        (scope,) = resource.scope_logs
        return list(scope.log_records)

    @property
    def resource(self):
        return _values(self.request.resource_logs[0].resource.attributes)


def _values(attributes):
    """Attributes as a dict."""

    def value(any_value):
        kind = any_value.WhichOneof("value")
        found = getattr(any_value, kind)
        return [value(one) for one in found.values] if kind == "array_value" else found

    return {one.key: value(one.value) for one in attributes}


class Collector:
    """Listens on a port of its own.

    Attributes:
        answers: (status, headers, body) for the next requests; afterwards 200.
        held: cleared, answers wait until it is set.
    """

    def __init__(self):
        self.answers: queue.Queue = queue.Queue()
        self.held = threading.Event()
        self.held.set()
        self._exports: queue.Queue[Export] = queue.Queue()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector._exports.put(Export(self.path, headers, ExportLogsServiceRequest.FromString(body)))
                collector.held.wait(10)
                try:
                    status, fields, answer = collector.answers.get_nowait()
                except queue.Empty:
                    status, fields, answer = 200, {}, ExportLogsServiceResponse().SerializeToString()
                self.send_response(status)
                for name, value in {"content-length": str(len(answer)), **fields}.items():
                    self.send_header(name, value)
                with contextlib.suppress(ConnectionError):  # the exporter may have left
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1/logs"

    async def export(self):
        """Wait for the next request."""
        return await asyncio.to_thread(self._exports.get, timeout=20)

    def none_left(self):
        return self._exports.empty()

    def close(self):
        self.held.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def values():
    """Give what makes a dict of a record's attributes."""
    return _values


@pytest.fixture
def collector():
    one = Collector()
    yield one
    one.close()
