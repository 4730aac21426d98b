"""Certificates with their keys, and authorities: those that a configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.ir import Authorities, KeyPair, Socket, UpstreamTls


def secrets_of(
    sockets: Iterable[Socket],
    upstreams: Iterable[UpstreamTls],
    pairs: Iterable[KeyPair],
    authorities: Iterable[Authorities],
) -> tuple[tuple[KeyPair, ...], tuple[Authorities, ...]]:
    """Return those of the pairs and authorities that sockets and clusters' `upstreams` name, each once, by digest."""
    listeners = [listener.tls for socket in sockets for listener in socket.listeners if listener.tls is not None]
    shown = {digest for tls in listeners for choice in tls.choices for digest in choice.certificates}
    shown.update(tls.certificate for tls in upstreams)
    trusted = {digest for tls in upstreams for digest in tls.authorities}
    trusted.update(digest for tls in listeners if tls.clients is not None for digest in tls.clients.authorities)
    pair_by = {pair.digest: pair for pair in pairs}
    authority_by = {each.digest: each for each in authorities}
    return (
        tuple(pair_by[digest] for digest in sorted(shown) if digest),
        tuple(authority_by[digest] for digest in sorted(trusted)),
    )
