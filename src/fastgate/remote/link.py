"""A data plane's connection to its controller, for ever: Updates in, Reports out."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from fastgate.remote import identities, wire
from fastgate.remote.difference import EMPTY, applied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastgate.remote.share import Share

log = logging.getLogger("fastgate")

FIRST_DELAY, LAST_DELAY = 0.1, 1.0  # seconds between attempts
CONNECT = 5.0  # seconds
HEARTBEAT = 4.0  # seconds between two pings: a leader that vanished is to be missed by when another one leads
HELD = 30.0  # seconds that a Share waits which is older than what is served
_REDIRECT = 307


class Link:
    """Keeps a data plane told.

    Attributes:
        served: the revision that is served; 0: none.
        on_share: called with every Share that is to be served; `report` has to follow.
    """

    def __init__(self, address: str, identity: Path, hello: Callable[[int], wire.Hello]) -> None:
        """Connect to nobody yet.

        Args:
            address: "HOST:PORT" of the controllers.
            identity: the directory of this data plane's, read for each connection.
            hello: what it says of itself, by the revision that it serves.
        """
        self.served = 0
        self.on_share: Callable[[Share], None] = lambda _: None
        self._address = address
        self._identity = identity
        self._hello = hello
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._has = EMPTY  # on this connection
        self._hold: asyncio.TimerHandle | None = None
        self._complaint = ""

    async def run(self) -> None:
        """Be told, until cancelled. Nothing is raised for what becomes of the controller."""
        failures, there = 0, ""
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    await self._talk(session, there or self._address)
                    failures, there = 0, ""
                except aiohttp.WSServerHandshakeError as e:
                    there = _elsewhere(e) if not there else ""
                    if not there:
                        failures += 1
                        self._complain(f"{e.status} {e.message}")
                except (aiohttp.ClientError, OSError, TimeoutError, identities.IdentityError, wire.WireError) as e:
                    failures, there = failures + 1, ""
                    self._complain(str(e) or type(e).__name__)
                if not there:
                    longest = min(FIRST_DELAY * 2**failures, LAST_DELAY)
                    await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - so that many fall out of step

    async def report(self, share: Share, error: str, sockets: dict[str, str]) -> None:
        """Say what became of a Share, or of its sockets since. Nothing is raised when nobody listens."""
        if not error:
            self.served = share.revision
        if share is self._has or share.revision == self._has.revision:
            await self._send(wire.Report(share.revision, error, sockets))

    async def greet(self) -> None:
        """Say again what this data plane is."""
        await self._send(self._hello(self.served))

    async def _talk(self, session: aiohttp.ClientSession, address: str) -> None:
        """Connect, and heed what is said until the connection ends."""
        context = identities.asking(identities.Identity.read(self._identity))
        async with (
            asyncio.timeout(CONNECT) as connecting,
            session.ws_connect(
                f"https://{address}{wire.PATH}",
                ssl=context,
                server_hostname=wire.SERVER_NAME,
                heartbeat=HEARTBEAT,
                compress=15,
                max_msg_size=wire.MAX_UPDATE,
            ) as socket,
        ):
            connecting.reschedule(None)
            await socket.send_bytes(wire.encode(self._hello(self.served)))
            log.info("told by the controller at %s", address)
            self._socket, self._has, self._complaint = socket, EMPTY, ""
            try:
                async for message in socket:
                    if message.type is not aiohttp.WSMsgType.BINARY:
                        raise wire.WireError("the controller sent a frame that is not binary")
                    await self._heed(message.data)
                if socket.close_code not in (None, aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.SERVICE_RESTART):
                    raise wire.WireError(f"the controller closed the connection ({socket.close_code})")
            finally:
                self._socket = None
                self._let_go()

    async def _heed(self, data: bytes) -> None:
        """Take an Update. One that leads back waits: this controller may not know yet what another one knew."""
        update = await asyncio.to_thread(wire.from_controller, data)
        share = self._has = applied(self._has, update)
        self._let_go()
        if share.revision >= self.served:
            self.on_share(share)
            return
        log.warning("revision %d is older than revision %d, which is served", share.revision, self.served)
        self._hold = asyncio.get_running_loop().call_later(HELD, self.on_share, share)
        await self._send(wire.Report(share.revision, is_held=True))

    def _let_go(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    async def _send(self, message: wire.Hello | wire.Report) -> None:
        if self._socket is not None:
            try:
                await self._socket.send_bytes(wire.encode(message))
            except (ConnectionError, aiohttp.ClientError) as e:
                log.info("a message is lost: %s", e)

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            log.warning("no controller at %s: %s; what is served stays", self._address, reason)


def _elsewhere(e: aiohttp.WSServerHandshakeError) -> str:
    """Return the address that a controller points to; "": it does not."""
    if e.status != _REDIRECT or e.headers is None:
        return ""
    return urlsplit(e.headers.get("Location", "")).netloc
