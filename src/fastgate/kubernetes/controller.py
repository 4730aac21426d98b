"""The controller: what an API server has is translated, provisioned, told to data planes, and its statuses written.

It serves no traffic, and none depends on it. Every replica translates; the holder of the Lease takes the data planes,
provisions and writes.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastgate.collector import Collector
from fastgate.ir import Endpoints, Ir
from fastgate.kubernetes.addresses import own_gateways
from fastgate.kubernetes.api_server import SETTLE, STATUS_DELAY, ApiServer
from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.identities import Identities
from fastgate.kubernetes.infrastructure import names
from fastgate.kubernetes.infrastructure.objects import Wanted
from fastgate.kubernetes.infrastructure.provisioner import Provisioner
from fastgate.plugins.discovery import Catalog
from fastgate.remote.hub import Hub
from fastgate.remote.share import Share
from fastgate.translate import Translator
from fastgate.translate.conditions import Statuses
from fastgate.translate.homes import Home
from fastgate.translate.parameters import infrastructure_of
from fastgate.translate.programmed import Bound, Programmed
from fastgate.translate.realms import Portion, Portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.infrastructure.objects import Defaults
    from fastgate.remote.hub import DataPlane
    from fastgate.store import Store
    from fastgate.translate import Translation
    from fastgate.translate.conditions import Name
    from fastgate.translate.mode import Mode
    from fastgate.translate.programmed import Fates

log = logging.getLogger("fastgate")

RETURN = 15.0  # seconds that data planes of another leader have to come here, in which what it has said of them stands
RENEWAL_CHECK = 3600.0  # seconds at most until certificates are looked at
AGAIN = 5.0  # seconds until what an API server refused is tried again
NOTHING = Portion(Ir(), Endpoints())


class Controller:
    """Translates, again and again, and does what follows."""

    def __init__(
        self, client: Client, *, mode: Mode, namespaces: tuple[str, ...], defaults: Defaults, address: str
    ) -> None:
        """Ask nothing yet.

        Args:
            client: of the API server; closed in the end.
            mode: whose classes are ours.
            namespaces: that are watched; none: all.
            defaults: of the objects that are provisioned.
            address: "HOST:PORT" where other replicas send data planes while this one leads.
        """
        self.api = ApiServer(client, mode, namespaces, address)
        self.api.on_lead = self._lead
        self.api.leader.on_rest = self._rest
        self._instance = names.instance_of(mode.controller)
        self.provisioner = Provisioner(client, defaults, self.api.leader.writes, self._instance, namespaces)
        self.provisioner.is_known = self._knows
        self.provisioner.on_change = lambda _: self.api.cache.wake()
        self.hub: Hub | None = None
        self.statuses = Statuses()  # as they are to be written
        self._mode = mode
        self._identities: Identities | None = None
        self._translator = Translator(Catalog(), mode)
        self._portions = Portions()
        self._programmed = Programmed()
        self._collector = Collector()
        self._shares: dict[Name, tuple[Portion, Share]] = {}
        self._translation: Translation | None = None
        self._since: float | None = None  # on the loop's clock: the first translation that statuses wait for
        self._leads_since = float("-inf")  # on the loop's clock
        self._due = asyncio.Event()  # statuses may be others

    @property
    def ready(self) -> str:
        """Why data planes cannot be told anything yet; "": they can."""
        if not self.api.cache.complete.is_set():
            return "the API server's objects are not known yet"
        return "" if self._translation is not None else "nothing is translated yet"

    @property
    def data_planes(self) -> list[DataPlane]:
        """Those that are connected to this replica."""
        return list(self.hub.connected()) if self.hub is not None else []

    async def run(self, host: str, port: int) -> None:
        """Control until cancelled; data planes come to this address. OSError when it cannot be bound."""
        self.api.follow()
        try:
            identities = self._identities = await Identities.load(self.api.client)
            hub = Hub(identities.authority, leader=self.api.leader.whereabouts)
            hub.on_change = lambda _: self._due.set()
            await hub.start(host, port)
            self.hub = hub
            try:
                async with asyncio.TaskGroup() as tasks:
                    for work in (
                        self._follow(hub, identities),
                        self._report(hub),
                        self.provisioner.run(),
                        *self.api.tasks(),
                    ):
                        tasks.create_task(work)
            finally:
                await hub.close()
        finally:
            await self.api.close()

    def _lead(self) -> None:
        loop = asyncio.get_running_loop()
        self._leads_since = loop.time()
        loop.call_later(RETURN, self._due.set)
        if self._identities is not None:
            self._identities.forget()
        self.provisioner.look_at_all()
        if self.hub is not None:
            self._say(self.hub)
        self.api.cache.wake()

    def _rest(self) -> None:
        if self.hub is not None:
            self.hub.resign()

    def _knows(self, namespace: str) -> bool:
        """Say whether it is known which Gateways of ours a namespace has."""
        return self.api.cache.is_read("Gateway", namespace) and self.api.cache.is_read("GatewayClass", "")

    # --- from objects to data planes ----------------------------------------------------------------------------------

    async def _follow(self, hub: Hub, identities: Identities) -> None:
        while True:
            try:
                await self._translate(hub, identities, await self.api.store())
            except ApiError as e:
                log.warning("%s", e)
                asyncio.get_running_loop().call_later(AGAIN, self.api.cache.wake)
            except Exception:
                log.exception("a fault of fastgate's own: what is served stays as it is until the objects are others")
            await asyncio.sleep(SETTLE)
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL_CHECK):
                    await self.api.cache.changed()

    async def _translate(self, hub: Hub, identities: Identities, store: Store) -> None:
        """Translate, tell data planes, and have what they run on provisioned."""
        revision = self.api.cache.latest
        gateways = {(g.metadata.namespace, g.metadata.name): g for g in own_gateways(store, self._mode.controller)}
        self._translator.mode = self.api.mode()
        homes = {name: self._home(name, gateway) for name, gateway in gateways.items()}
        with self._collector.paused():
            translation = await asyncio.to_thread(self._translator.translate, store, homes)
            portions = self._portions.of(translation)
        found = {name: portions.get(realm_of(name), NOTHING) for name in gateways}
        self._shares = {name: self._share(name, portion, revision) for name, portion in found.items()}
        hub.publish({name: share for name, (_, share) in self._shares.items()})
        self._translation = translation
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
        self._due.set()
        issued = await identities.of(gateways)
        if issued.keys() != gateways.keys():
            asyncio.get_running_loop().call_later(AGAIN, self.api.cache.wake)
        said = {name: infrastructure_of(store, gateway) for name, gateway in gateways.items()}
        self.provisioner.want(
            {
                name: Wanted(
                    gateway=gateway,
                    ports=ports_of(gateway, found[name]),
                    parameters=said[name] or {},
                    is_held=said[name] is None or name not in issued,
                    addresses=tuple(_asked(gateway)),
                    identity=issued.get(name, {}),
                    instance=self._instance,
                )
                for name, gateway in gateways.items()
            }
        )

    def _share(self, name: Name, portion: Portion, revision: int) -> tuple[Portion, Share]:
        known = self._shares.get(name)
        return (
            known
            if known is not None and known[0] is portion
            else (portion, Share(revision, portion.ir, portion.endpoints))
        )

    def _home(self, name: Name, gateway: Any) -> Home:
        """Where a Gateway lives: in a realm of its own, at the addresses of its Service."""
        shown, problem = self.provisioner.addresses(name), self.provisioner.problem(name)
        if shown is None:  # nobody has looked yet: what was shown last stands
            stored = self.api.status_of(("Gateway", *name)).get("addresses") or ()
            shown = tuple((each.get("type", "IPAddress"), each.get("value", "")) for each in stored)
        unknown = [each.type for each in gateway.spec.addresses or () if (each.type or "IPAddress") != "IPAddress"]
        refused = [value for value in _asked(gateway) if ("IPAddress", value) not in shown]
        unusable = None
        if problem:
            unusable = ("NoResources", problem)
        elif not shown:
            unusable = ("AddressNotAssigned", "the Service of the data planes has no address yet")
        elif refused:
            unusable = ("AddressNotUsable", f"the Service of the data planes is not given {', '.join(refused)}")
        refusal = ("UnsupportedAddress", f"addresses of type {unknown[0]} are not supported") if unknown else None
        return Home(realm_of(name), shown=shown, refusal=refusal, unusable=unusable)

    # --- and back -----------------------------------------------------------------------------------------------------

    async def _report(self, hub: Hub) -> None:
        """Have statuses written: once data planes serve what was translated, or `STATUS_DELAY` after it."""
        while True:
            await self._due.wait()
            self._due.clear()
            while self._since is not None and not all(map(hub.settled, self._shares)):
                left = self._since + STATUS_DELAY - asyncio.get_running_loop().time()
                try:
                    async with asyncio.timeout(max(left, 0)):
                        await self._due.wait()
                    self._due.clear()
                except TimeoutError:
                    break
            self._since = None
            self._say(hub)

    def _say(self, hub: Hub) -> None:
        """Want the statuses that follow from what data planes have said by now."""
        if self._translation is not None:
            fates = {realm_of(name): self._fates(hub, name) for name in self._shares}
            self.statuses = self._programmed.resolve(self._translation.statuses, fates)
            self.api.want(self.statuses)

    def _fates(self, hub: Hub, name: Name) -> Fates:
        refusal = hub.refusal(name)
        if refusal:
            _, share = self._shares[name]
            return {socket.key: Bound(error=refusal, reason="Invalid") for socket in share.ir.sockets}
        fates = hub.fates(name)
        if fates is None and asyncio.get_running_loop().time() < self._leads_since + RETURN:
            fates = dict.fromkeys(self._bound_before(name), Bound())
        return fates or {}

    def _bound_before(self, name: Name) -> Iterator[str]:
        """Yield the sockets of listeners that are programmed by their stored statuses."""
        statuses = self._translation.statuses if self._translation is not None else Statuses()
        sets = ((("ListenerSet", *key), each) for key, each in statuses.listener_sets.items() if each.gateway == name)
        for key, status in ((("Gateway", *name), statuses.gateways.get(name)), *sets):
            stored = {each.get("name"): each for each in self.api.status_of(key).get("listeners") or ()}
            for listener in status.listeners if status is not None else ():
                conditions = stored.get(listener.name, {}).get("conditions") or ()
                if any(each.get("type") == "Programmed" and each.get("status") == "True" for each in conditions):
                    yield from listener.sockets


def realm_of(gateway: Name) -> str:
    """Return the realm of a Gateway."""
    return "/".join(gateway)


def _asked(gateway: Any) -> Iterable[str]:
    """The IP addresses that a Gateway asks for."""
    return (each.value for each in gateway.spec.addresses or () if each.value and each.type in (None, "IPAddress"))


def ports_of(gateway: Any, portion: Portion) -> tuple[tuple[str, int], ...]:
    """Protocols and ports of the Service: those that the Gateway names and those that are served.

    A port whose listener is not served for a while stays: the Service would be given another node port for it.
    """
    served = {("UDP" if socket.datagrams else "TCP", socket.port) for socket in portion.ir.sockets}
    named = {("UDP" if each.protocol == "UDP" else "TCP", each.port) for each in gateway.spec.listeners}
    return tuple(sorted(served | named))
