"""Controllers and data planes that talk to one another, without a cluster."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fastgate.ir import (
    Cluster,
    Endpoint,
    Endpoints,
    Forward,
    Ir,
    Listener,
    Match,
    PathKind,
    PathMatch,
    Rule,
    Socket,
    VirtualHost,
    WeightedBackend,
)
from fastgate.remote import wire
from fastgate.remote.hub import Hub
from fastgate.remote.link import Link
from fastgate.remote.share import Share

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastgate.remote.identities import Authority, Identity

_OPEN = ("01", "03", "08")  # ESTABLISHED, SYN_RECV, CLOSE_WAIT (include/net/tcp_states.h)
GATEWAY = ("default", "gw")
TIMEOUT = 10.0


def leads() -> str:
    """Say that the replica that is asked leads."""
    return ""


def share(revision: int, backend_port: int = 1, port: int = 80) -> Share:
    """A Share with one listener whose requests go to a port of the loopback network."""
    rule = Rule("HTTPRoute/default/r/0", "HTTPRoute/default/r", "", Forward((WeightedBackend(1, "Backend/default/b"),)))
    host = VirtualHost("", (Match(PathMatch(PathKind.PREFIX, ""), "", (), (), rule),))
    listener = Listener("Gateway/default/gw/http", "default/gw", "http", "", "HTTP", (host,))
    ir = Ir((Socket("127.0.0.1", port, (listener,)),), (Cluster("Backend/default/b"),))
    return Share(revision, ir, Endpoints({"Backend/default/b": (Endpoint("127.0.0.1", backend_port),)}))


def write(identity: Identity, directory: Path) -> Path:
    """Write an identity as a Secret is mounted."""
    directory.mkdir(exist_ok=True)
    for name, content in (("tls.crt", identity.certificate), ("tls.key", identity.key), ("ca.crt", identity.authority)):
        (directory / name).write_bytes(content)
    return directory


@asynccontextmanager
async def hub_of(
    authority: Authority, leader: Any = leads, port: int = 0, *, host: str = "127.0.0.1", outlived: bool = False
) -> AsyncIterator[tuple[Hub, str]]:
    """A hub that listens, and its address. Nothing is left of its connections, unless data planes outlive it."""
    hub = Hub(authority, leader)
    host, port = await hub.start(host, port)
    try:
        yield hub, f"{host}:{port}"
    finally:
        await hub.close()
        if not outlived:
            await quiet(f"{host}:{port}")


class Plane:
    """A data plane that serves nothing, and says what it is told to of what it is told."""

    def __init__(self, address: str, identity: Path, name: str = "pod") -> None:
        self.link = Link(address, identity, lambda revision: wire.Hello(wire.PROTOCOL, "0.1", name, revision))
        self.link.on_share = self._take
        self.shares: list[Share] = []
        self._task: asyncio.Task[None] | None = None

    def _take(self, share: Share) -> None:
        self.shares.append(share)

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def says(self, error: str = "", sockets: dict[str, str] | None = None) -> None:
        """Report on the newest Share."""
        await self.link.report(self.shares[-1], error, sockets if sockets is not None else {"127.0.0.1:80": ""})

    async def told(self, revision: int) -> Share:
        """Wait for a Share."""
        await until(lambda: self.shares and self.shares[-1].revision == revision)
        return self.shares[-1]


async def quiet(address: str) -> None:
    """Wait until no connection to a hub is open here any more, not even one that had not said who it is."""
    port = f":{int(address.rpartition(':')[2]):04X}"

    def is_quiet() -> bool:
        lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return not any(line[1].endswith(port) and line[3] in _OPEN for line in lines)

    await until(is_quiet)


async def until(holds: Any) -> None:
    """Wait for something to hold, whenever another task had its turn."""
    async with asyncio.timeout(TIMEOUT):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.002)
