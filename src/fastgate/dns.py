"""Look-ups of host names that tell how long their addresses hold."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import dns.asyncresolver
import dns.exception
import dns.resolver

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

HOSTS = Path("/etc/hosts")
LOCAL_TTL = 30.0  # seconds: of what the system knows without DNS
LIFETIME = 5.0  # seconds for all name servers together


class UnresolvedError(Exception):
    """A name has no addresses now. `there_is_none`: a name server says so; else none answered."""

    def __init__(self, why: object, *, there_is_none: bool = False) -> None:
        """Keep the reason."""
        super().__init__(str(why))
        self.there_is_none = there_is_none


async def look_up(name: str, resolver: Resolver | None = None) -> tuple[tuple[str, ...], float]:
    """Return the IPv4 and IPv6 addresses of a name, sorted, and the seconds that they hold.

    Names of /etc/hosts and names without a dot are the system's; others are asked of the name servers of
    /etc/resolv.conf, or of `resolver`, with its search list.

    Raises:
        UnresolvedError: there are none, or nobody knows.
    """
    if resolver is None and ("." not in name.rstrip(".") or name.lower() in await asyncio.to_thread(_hosts)):
        return await _system(name), LOCAL_TTL
    try:
        answers = await (resolver or dns.asyncresolver.Resolver()).resolve_name(
            name, family=socket.AF_UNSPEC, search=True, lifetime=LIFETIME
        )
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as e:
        raise UnresolvedError(e, there_is_none=True) from None
    except (dns.exception.DNSException, OSError) as e:
        raise UnresolvedError(e) from None
    ttl = min(answer.rrset.ttl for answer in answers.values() if answer.rrset is not None)
    return tuple(sorted(answers.addresses())), float(ttl)


async def _system(name: str) -> tuple[str, ...]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise UnresolvedError(getattr(e, "strerror", None) or e) from None
    # A scoped address would be usable on one link only.
    return tuple(sorted({str(ipaddress.ip_address(a[4][0])) for a in found if "%" not in str(a[4][0])}))


def _hosts() -> set[str]:
    try:
        lines = HOSTS.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {name.lower() for line in lines for name in line.partition("#")[0].split()[1:]}
