"""Addresses of this host for Gateways: one of a pool for each, or those that it asks for.

Who had an address keeps it: first who asks for it by name (spec.addresses), then who had it in this process, then whose
status shows it, so that a restart moves nobody. Among equals the oldest Gateway comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from typing import TYPE_CHECKING, Any

from fastgate.translate.homes import Home
from fastgate.translate.literals import is_ip
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fastgate.store import Store
    from fastgate.translate.conditions import Name

    Shown = Callable[[Name], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Pool:
    """Addresses of this host that Gateways may have, in the order they are given out in."""

    networks: tuple[Any, ...] = ()  # of ipaddress

    @classmethod
    def parse(cls, text: str) -> Pool:
        """Read `192.0.2.1,192.0.2.8-192.0.2.15,2001:db8::/120`.

        Raises:
            ValueError: with a sentence.
        """
        networks: list[Any] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            first, dash, last = part.partition("-")
            try:
                if dash:
                    networks += summarize_address_range(ip_address(first.strip()), ip_address(last.strip()))
                else:
                    networks.append(ip_network(part))
            except (ValueError, TypeError) as e:
                raise ValueError(f"{part!r} is not an address, a range FIRST-LAST or a network: {e}") from None
        return cls(tuple(networks))

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.networks)

    def __iter__(self) -> Iterator[IPv4Address | IPv6Address]:
        for network in self.networks:
            yield from network

    def __bool__(self) -> bool:
        return bool(self.networks)


@dataclass(slots=True)
class _Wish:
    """What a Gateway asks for."""

    any_will_do: bool = False
    addresses: dict[str, None] = field(default_factory=dict)  # that it can have
    shown: dict[tuple[str, str], None] = field(default_factory=dict)  # how it spells them: type, value
    unusable: list[str] = field(default_factory=list)
    refused: str = ""

    def home(self, given: str | None) -> Home:
        """Return the home, with an address of the pool where one is given."""
        bind, shown = [*self.addresses], [*self.shown]
        unusable = self.unusable
        if given is not None:
            bind.append(given)
            shown.append(("IPAddress", given))
        reason = None
        if unusable:
            reason = ("AddressNotUsable", f"not of this gateway's address pool: {', '.join(unusable)}")
        elif self.any_will_do and given is None:
            reason = ("AddressNotAssigned", "every address of the address pool is taken")
        refusal = ("UnsupportedAddress", self.refused) if self.refused else None
        return Home(bind=tuple(bind), shown=tuple(shown), refusal=refusal, unusable=reason)


class Addresses:
    """Gives Gateways their homes, again and again."""

    def __init__(self, pool: Pool) -> None:
        """Give addresses of this pool."""
        self._pool = pool
        self._had: dict[Name, str] = {}  # from the pool

    def homes(self, gateways: Iterable[Any], shown: Shown, hosts: Mapping[str, tuple[str, ...]]) -> dict[Name, Home]:
        """Return the home of each Gateway.

        Args:
            gateways: those of this controller, oldest first.
            shown: from a Gateway's name to the IP literals in its stored status.
            hosts: the IP literals that host names stand for; see `hostnames`.
        """
        wishes = {(g.metadata.namespace, g.metadata.name): self._wish(g, hosts) for g in gateways}
        waiting = [name for name, wish in wishes.items() if wish.any_will_do]
        taken = {address for wish in wishes.values() for address in wish.addresses}
        had: dict[Name, str] = {}
        for candidates in (self._kept, shown, self._free(taken)):
            for name in waiting:
                address = None if name in had else next((a for a in candidates(name) if a not in taken), None)
                if address is not None and ip_address(address) in self._pool:
                    had[name] = address
                    taken.add(address)
        self._had = had
        return {name: wish.home(had.get(name)) for name, wish in wishes.items()}

    def _kept(self, name: Name) -> tuple[str, ...]:
        return (self._had[name],) if name in self._had else ()

    def _free(self, taken: set[str]) -> Shown:
        free = (str(address) for address in self._pool)  # one walk for all: what it passed is taken
        return lambda _: (address for address in free if address not in taken)

    def _wish(self, gateway: Any, hosts: Mapping[str, tuple[str, ...]]) -> _Wish:
        wish = _Wish(any_will_do=not gateway.spec.addresses)
        for entry in gateway.spec.addresses or ():
            type_, value = entry.type or "IPAddress", entry.value
            if type_ not in ("IPAddress", "Hostname"):
                wish.refused = f"addresses of type {type_} are not supported"
            elif not value:
                wish.any_will_do = True
            else:
                literals = (value,) if type_ == "IPAddress" else hosts.get(value, ())
                found = [str(ip) for ip in map(ip_address, filter(is_ip, literals)) if ip in self._pool]
                if found:
                    wish.addresses.update(dict.fromkeys(found))
                    wish.shown[type_, value] = None
                else:
                    wish.unusable.append(value)
        return wish


def hostnames(gateways: Iterable[Any]) -> set[str]:
    """Return the host names among the addresses that Gateways ask for."""
    return {
        entry.value
        for gateway in gateways
        for entry in gateway.spec.addresses or ()
        if entry.type == "Hostname" and entry.value
    }


def own_gateways(store: Store, controller: str) -> list[Any]:
    """Return the Gateways of the classes of a controller, oldest first."""
    classes = {c.metadata.name for c in store.list("GatewayClass") if c.spec.controller_name == controller}
    own = [gateway for gateway in store.list("Gateway") if gateway.spec.gateway_class_name in classes]
    return sorted(own, key=lambda g: age(g.metadata.creation_timestamp, g.metadata.namespace, g.metadata.name))
