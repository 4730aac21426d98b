"""Where Gateways live: the addresses that their listeners bind and those that their statuses show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Home:
    """Where a Gateway is served; who assigns addresses says so.

    Attributes:
        realm: Gateways of one realm share the ports of its addresses; "" is this host.
        bind: IP literals that listeners bind; "" is every address. Empty: there is none, nothing is served.
        shown: (type, value) of the status's addresses; None: those that are bound.
        refusal: reason of Accepted=False and a message, when the Gateway cannot live at all.
        unusable: reason of Programmed=False and a message, when an address that it asks for is not to be had.
    """

    realm: str = ""
    bind: tuple[str, ...] = ("",)
    shown: tuple[tuple[str, str], ...] | None = None
    refusal: tuple[str, str] | None = None
    unusable: tuple[str, str] | None = None
