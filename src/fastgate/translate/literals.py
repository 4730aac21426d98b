"""IP addresses as text."""

from __future__ import annotations

from ipaddress import ip_address


def is_elsewhere(address: str) -> bool:
    """Say whether an IP literal can be another host's: those of this one and its link reach what nobody published."""
    ip = ip_address(address)
    mapped = getattr(ip, "ipv4_mapped", None)
    ip = mapped if mapped is not None else ip
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)


def is_ip(address: str) -> bool:
    """Say whether a text is an address of either family."""
    try:
        ip_address(address)
    except ValueError:
        return False
    return True
