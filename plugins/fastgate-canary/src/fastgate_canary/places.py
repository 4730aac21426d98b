"""Where the canary runs: addresses, networks, or addresses with a port."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Place = tuple[IPv4Network | IPv6Network, int]  # of endpoints, and their port; 0: any


def place(text: str) -> Place:
    """Read "10.0.0.0/24", "10.0.0.7", "10.0.0.7:8080" or "[2001:db8::7]:8080". ValueError: it is none of these."""
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdecimal() and (host.startswith("[") or ":" not in host):
        if not 1 <= int(port) <= 65535:  # noqa: PLR2004 - of 16 bits
            raise ValueError(f"{port} is no port")
        return ip_network(host.removeprefix("[").removesuffix("]")), int(port)
    return ip_network(text), 0


def checked_place(text: str) -> str:
    """Return the text of a place."""
    place(text)
    return text


def matcher(texts: Iterable[str]) -> Callable[[str, int], bool]:
    """Return what says whether an address and port are in one of these places."""
    places = [place(text) for text in texts]

    @lru_cache(maxsize=4096)
    def matches(address: str, port: int) -> bool:
        ip = ip_address(address)
        return any(ip in network and wanted in (0, port) for network, wanted in places)

    return matches
