"""A pytest plugin: the fixture `fastgate_gateway` runs a gateway with filters, before a backend that takes notes.

    def test_stamp(fastgate_gateway):
        gateway = fastgate_gateway(Stamp, config={"header": "x-hi"})
        assert gateway.client.get("/a").status_code == 200
        assert gateway.backend.requests[0].headers["x-hi"] == "hello"

Install `fastgate[testing]`. The clients are httpx's.
"""

from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fastgate.gateway import Gateway
    from fastgate.plugins.filter import Filter
    from fastgate.plugins.headers import Headers

_numbers = itertools.count(1)  # of Filters: their names are of one process


@dataclass(frozen=True)
class Use:
    """A filter, as a Filter resource configures it.

    Attributes:
        filter: its class.
        config: `spec.config`.
        inline: whether `spec.execution` is Inline.
        on_error: `spec.onError`.
        timeout: `spec.timeout`.
    """

    filter: type[Filter[Any]]
    config: Mapping[str, Any] = field(default_factory=dict)
    inline: bool = False
    on_error: str = "Deny"
    timeout: str = "5s"


@dataclass(frozen=True)
class Received:
    """A request as the backend got it."""

    method: str
    target: str
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the backend answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Backend:
    """A server that notes requests, and answers all of them alike.

    Attributes:
        requests: what came so far.
        reply: the answer, or what makes one of a request.
    """

    def __init__(self) -> None:
        """Listen on a port of its own, on loopback."""
        self.requests: list[Received] = []
        self.reply: Reply | Callable[[Received], Reply] = Reply()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fastgate-test-backend")
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(backend: Backend) -> type[BaseHTTPRequestHandler]:
    """Return what answers the requests of one connection, whatever their method."""
    from fastgate.plugins.headers import Headers  # noqa: PLC0415 - not for every pytest run

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # the gateway gave the request up
                super().handle()

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            received = Received(self.command, self.path, Headers(self.headers.items()), self._body())
            backend.requests.append(received)
            reply = backend.reply(received) if callable(backend.reply) else backend.reply
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body if self.command != "HEAD" else b"")

        def _body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length", 0)))
            pieces = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailer fields
            return b"".join(pieces)

    return Handler


class RunningGateway:
    """A gateway that serves, and what stands on both sides of it.

    Attributes:
        gateway: the gateway itself.
        backend: where requests go that no filter answers.
        url: of the gateway.
        client: a client of the gateway, for tests that are `def`.
        async_client: likewise, for tests that are `async def`.
    """

    def __init__(self, gateway: Gateway, backend: Backend) -> None:
        """Be made by the fixture, for a gateway that has started."""
        import httpx  # noqa: PLC0415 - of an extra, and not for every pytest run

        host, port = gateway.address("http")
        self.gateway = gateway
        self.backend = backend
        self.url = f"http://{host}:{port}"
        # Connections end with their response: the loop that one belongs to may not outlive its test.
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.url, limits=limits, trust_env=False)
        self.async_client = httpx.AsyncClient(base_url=self.url, limits=limits, trust_env=False)


class Starter:
    """Starts gateways, and stops them when the test has ended."""

    def __init__(self) -> None:
        """Have started none."""
        self._stack = ExitStack()

    def __call__(
        self,
        *filters: type[Filter[Any]] | Use,
        config: Mapping[str, Any] | None = None,
        resources: Iterable[Mapping[str, Any]] = (),
    ) -> RunningGateway:
        """Start a gateway with one route, which has these filters in this order.

        Args:
            filters: classes, or `Use`s of them.
            config: of all that are given as classes.
            resources: further ones, such as Secrets that configurations refer to.

        Raises:
            fastgate.ConfigurationError: a filter or a resource cannot be used; it says why.
        """
        from fastgate.gateway import Gateway  # noqa: PLC0415 - not for every pytest run

        backend = Backend()
        self._stack.callback(backend.close)
        uses = {
            f"{use.filter.__name__}-{next(_numbers)}": use
            for use in (one if isinstance(one, Use) else Use(one, config or {}) for one in filters)
        }
        gateway = Gateway(
            [*_resources(uses, backend.port), *resources],
            ports={80: 0},
            strict=True,
            filters={name: use.filter for name, use in uses.items()},
        )
        self._stack.enter_context(gateway)
        _check(gateway, uses)
        running = RunningGateway(gateway, backend)
        self._stack.callback(running.client.close)
        return running

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()


@pytest.fixture
def fastgate_gateway() -> Iterator[Starter]:
    """Give what starts gateways with filters: `fastgate_gateway(Stamp, config={"header": "x-hi"})`."""
    starter = Starter()
    yield starter
    starter.close()


def _check(gateway: Gateway, uses: Mapping[str, Use]) -> None:
    """Raise when a Filter was not accepted: its route would answer 500."""
    from fastgate.errors import Error  # noqa: PLC0415 - not for every pytest run

    statuses = gateway.status()
    for name in uses:
        for condition in statuses[f"Filter/default/{name.lower()}"]["conditions"]:
            if condition["status"] != "True":
                raise Error(f"{name}: {condition['message']}")


def _resources(uses: Mapping[str, Use], port: int) -> Iterator[dict[str, Any]]:
    """A Gateway, a Backend, the Filters, and the route that has them."""
    core, own = "gateway.networking.k8s.io/v1", "fastgate.dev/v1alpha1"
    yield {
        "apiVersion": core,
        "kind": "Gateway",
        "metadata": {"name": "test"},
        "spec": {"gatewayClassName": "fastgate", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }
    yield {
        "apiVersion": own,
        "kind": "Backend",
        "metadata": {"name": "test"},
        "spec": {"endpoints": [{"address": "127.0.0.1", "port": port}]},
    }
    for name, use in uses.items():
        spec = {
            "type": name,
            "config": dict(use.config),
            "execution": "Inline" if use.inline else "Offloaded",
            "onError": use.on_error,
            "timeout": use.timeout,
        }
        yield {"apiVersion": own, "kind": "Filter", "metadata": {"name": name.lower()}, "spec": spec}
    references = [{"group": "fastgate.dev", "kind": "Filter", "name": name.lower()} for name in uses]
    rule = {
        "filters": [{"type": "ExtensionRef", "extensionRef": reference} for reference in references],
        "backendRefs": [{"group": "fastgate.dev", "kind": "Backend", "name": "test"}],
    }
    yield {
        "apiVersion": core,
        "kind": "HTTPRoute",
        "metadata": {"name": "test"},
        "spec": {"parentRefs": [{"name": "test"}], "rules": [rule]},
    }
