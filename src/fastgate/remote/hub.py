"""Where data planes come to be told what they serve, and to say what came of it.

Each is told one Update at a time; what is published meanwhile waits, and only the newest goes on. The replica that
leads takes the data planes: it is the one that writes what they report.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web

from fastgate.remote import identities, wire
from fastgate.remote.difference import EMPTY, difference
from fastgate.translate.programmed import Bound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastgate.remote.identities import Authority, Name
    from fastgate.remote.share import Share
    from fastgate.translate.programmed import Fates

log = logging.getLogger("fastgate")

LATE = 10.0  # seconds without a report after which a data plane is not waited for
HEARTBEAT = 10.0  # seconds between two pings
GREETING = 10.0  # seconds for a Hello
_RETRY = 1  # seconds, while nobody leads
_FORBIDDEN, _UNAVAILABLE, _REDIRECT = 403, 503, 307


@dataclass(slots=True, eq=False)
class DataPlane:
    """One that is connected.

    Attributes:
        gateway: whose it is.
        hello: what it said of itself.
        has: the Share that it has received, whatever became of it.
        awaited: the one that it has been sent and not reported on.
        sent_at: when, on the loop's clock.
        report: its last word.
    """

    gateway: Name
    hello: wire.Hello
    socket: web.WebSocketResponse
    has: Share = EMPTY
    awaited: Share | None = None
    sent_at: float = 0.0
    report: wire.Report | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Gateway:
    """What is known of the data planes of a Gateway."""

    share: Share = EMPTY
    planes: dict[DataPlane, None] = field(default_factory=dict)
    fates: dict[str, Bound] | None = None
    encoded: dict[int, tuple[Share, bytes]] = field(default_factory=dict)  # to `share`, from others by identity


class Hub:
    """Takes the data planes of all Gateways.

    Attributes:
        on_change: called with a Gateway when what its data planes report is something else.
    """

    def __init__(self, authority: Authority, leader: Callable[[], str | None]) -> None:
        """Take nobody yet.

        Args:
            authority: of the certificates on both sides.
            leader: where data planes are taken: "" here, "HOST:PORT" there, None nowhere that is known.
        """
        self.on_change: Callable[[Name], None] = lambda _: None
        self._authority = authority
        self._leader = leader
        self._gateways: dict[Name, _Gateway] = {}
        self._published: frozenset[Name] = frozenset()
        self._runner: web.AppRunner | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._dismissal: asyncio.Future[None] | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, "*" on every address, and return what is bound. OSError: it cannot be."""
        identity = self._authority.controller()
        context = identities.serving(identity)
        application = web.Application()
        application.router.add_get(wire.PATH, self._take)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host if host != "*" else None, port, ssl_context=context)
        try:
            await site.start()
        except OSError:
            await self.close()
            raise
        self._renewal = asyncio.ensure_future(self._renew(context, identity.renews_at()))
        address = self._runner.addresses[0]
        return address[0], address[1]

    async def close(self) -> None:
        """Take nobody more; who is connected goes on by itself."""
        if self._renewal is not None:
            self._renewal.cancel()
        await self._dismiss()
        if self._runner is not None:
            await self._runner.cleanup()

    def resign(self) -> None:
        """Send who is connected to the replica that leads from now on."""
        self._dismissal = asyncio.ensure_future(self._dismiss())

    # --- what they are told -------------------------------------------------------------------------------------------

    def publish(self, shares: Mapping[Name, Share]) -> None:
        """Let data planes serve these Shares, of all Gateways. Those of other Gateways are told nothing more."""
        self._published = frozenset(shares)
        for gone in self._gateways.keys() - self._published:
            self._forget(gone)
        for name, share in shares.items():
            gateway = self._gateways.setdefault(name, _Gateway())
            if gateway.share is not share:
                gateway.share, gateway.encoded = share, {}
                for plane in gateway.planes:
                    plane.news.set()

    # --- what they say ------------------------------------------------------------------------------------------------

    def fates(self, gateway: Name) -> Fates | None:
        """Return what became of a Gateway's sockets; None: no data plane has said so yet."""
        known = self._gateways.get(gateway)
        return known.fates if known is not None else None

    def refusal(self, gateway: Name) -> str:
        """Return why its newest Share is not served; "": it is, or nobody has said so yet."""
        known = self._gateways.get(gateway, _Gateway())
        reports = ((plane, plane.report) for plane in known.planes)
        refusals = (
            f"data plane {plane.hello.name}: {report.error}"
            for plane, report in reports
            if report is not None and report.error and report.revision == known.share.revision
        )
        return next(refusals, "")

    def settled(self, gateway: Name) -> bool:
        """Say whether every data plane that is connected has reported on the newest Share, or is late."""
        known = self._gateways.get(gateway, _Gateway())
        now = asyncio.get_running_loop().time()
        return all(
            (plane.has is known.share and plane.awaited is None)
            or (plane.awaited is not None and now - plane.sent_at > LATE)
            for plane in known.planes
        )

    def connected(self) -> Iterator[DataPlane]:
        """Yield the data planes that are connected."""
        for gateway in self._gateways.values():
            yield from gateway.planes

    # --- a connection -------------------------------------------------------------------------------------------------

    async def _take(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        name = identities.gateway_of(certificate)
        if name is None:
            return web.Response(status=_FORBIDDEN, text="the certificate names no Gateway\n")
        elsewhere = self._leader()
        if elsewhere is None:
            return web.Response(status=_UNAVAILABLE, headers={"Retry-After": str(_RETRY)}, text="nobody leads\n")
        if elsewhere:
            return web.Response(status=_REDIRECT, headers={"Location": f"https://{elsewhere}{wire.PATH}"})
        socket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=wire.MAX_HELLO, compress=True)
        await socket.prepare(request)
        try:
            async with asyncio.timeout(_seconds_left(certificate)):
                await self._attend(name, socket)
        except TimeoutError:
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"the certificate has expired")
        except ExceptionGroup:
            log.exception("a fault of fastgate's own: a data plane of Gateway %s/%s is told nothing more", *name)
            await socket.close(code=WSCloseCode.INTERNAL_ERROR)
        except wire.WireError as e:
            log.warning("a data plane of Gateway %s/%s is dismissed: %s", *name, e)
            await socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=str(e).encode()[:100])
        return socket

    async def _attend(self, name: Name, socket: web.WebSocketResponse) -> None:
        try:
            async with asyncio.timeout(GREETING):
                hello = await self._heard(socket)
        except TimeoutError:
            raise wire.WireError("it says nothing") from None
        if not isinstance(hello, wire.Hello):
            raise wire.WireError("it does not begin with a Hello")
        if hello.protocol != wire.PROTOCOL:
            raise wire.WireError(f"it speaks protocol {hello.protocol}; this controller speaks {wire.PROTOCOL}")
        gateway = self._gateways.setdefault(name, _Gateway())
        plane = DataPlane(name, hello, socket)
        gateway.planes[plane] = None
        plane.news.set()
        log.info("data plane %s of Gateway %s/%s, fastgate %s", hello.name, *name, hello.version)
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(self._tell(plane))
                await self._hear(plane)
                telling.cancel()
        except* wire.WireError as e:
            raise e.exceptions[0] from None
        finally:
            del gateway.planes[plane]
            self._sum_up(name)
            self._forget(name)
            log.info("data plane %s of Gateway %s/%s is gone", hello.name, *name)

    async def _hear(self, plane: DataPlane) -> None:
        """Take reports, and what it says of itself, until there is nothing more."""
        while (message := await self._heard(plane.socket)) is not None:
            if isinstance(message, wire.Hello):
                plane.hello = message
            else:
                self._note(plane, message)

    @staticmethod
    async def _heard(socket: web.WebSocketResponse) -> wire.Hello | wire.Report | None:
        """Return what a data plane says next; None: nothing more."""
        message = await socket.receive()
        if message.type is WSMsgType.BINARY:
            return wire.from_data_plane(message.data)
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        raise wire.WireError("a frame that is not binary")

    async def _tell(self, plane: DataPlane) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await plane.news.wait()
            plane.news.clear()
            gateway = self._gateways.get(plane.gateway)
            if gateway is None or plane.awaited is not None or gateway.share is plane.has or gateway.share is EMPTY:
                continue
            data = self._encoded(gateway, plane.has)
            plane.awaited, plane.sent_at = gateway.share, loop.time()
            with suppress(ConnectionError):
                await plane.socket.send_bytes(data)

    @staticmethod
    def _encoded(gateway: _Gateway, before: Share) -> bytes:
        """Return the Update from `before` to the newest Share: made once for all that are there."""
        known = gateway.encoded.get(id(before))
        if known is None:
            update = difference(before, gateway.share)
            known = gateway.encoded[id(before)] = (before, wire.encode(update))
        return known[1]

    def _note(self, plane: DataPlane, report: wire.Report) -> None:
        """Take a report, on what it was sent or on what became of that since."""
        if plane.awaited is not None and report.revision == plane.awaited.revision:
            plane.has, plane.awaited = plane.awaited, None
            plane.news.set()
        elif report.revision != plane.has.revision:
            raise wire.WireError(f"a report on revision {report.revision}, which it was not sent")
        plane.report = None if report.is_held else report
        if report.error:
            log.error("data plane %s of Gateway %s/%s: %s", plane.hello.name, *plane.gateway, report.error)
        self._sum_up(plane.gateway)

    def _sum_up(self, name: Name) -> None:
        """Decide what became of the sockets; when nobody is connected the last word stands."""
        gateway = self._gateways[name]
        reports = [plane.report for plane in gateway.planes if plane.report is not None]
        if reports:
            fates: dict[str, Bound] = {}
            for report in reports:
                for key, error in report.sockets.items():
                    if error or key not in fates:
                        fates[key] = Bound(error=error or None)
            gateway.fates = fates
        self.on_change(name)

    def _forget(self, name: Name) -> None:
        """Forget a Gateway that is gone, with its data planes."""
        if name not in self._published and not self._gateways[name].planes:
            del self._gateways[name]

    async def _dismiss(self) -> None:
        planes = list(self.connected())
        closing = (
            plane.socket.close(code=WSCloseCode.SERVICE_RESTART, message=b"another controller leads")
            for plane in planes
        )
        await asyncio.gather(*closing, return_exceptions=True)

    async def _renew(self, context: ssl.SSLContext, at: datetime) -> None:
        """Serve with a new certificate whenever the one of now gets old: connections that begin then have it."""
        while True:
            await asyncio.sleep(max((at - datetime.now(UTC)).total_seconds(), 0))
            identity = self._authority.controller()
            identities.load(context, identity)
            at = identity.renews_at()


def _seconds_left(certificate: Any) -> float:
    return ssl.cert_time_to_seconds(certificate["notAfter"]) - datetime.now(UTC).timestamp()
