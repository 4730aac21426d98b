"""How TLS ends at a listener: which certificates are for which names, and which of its neighbours' names overlap."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from fastgate.ir import CertificateChoice, ClientValidation
from fastgate.translate.hostnames import covers, intersects
from fastgate.translate.precedence import hostname_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastgate.ir import Authorities, KeyPair, Tls
    from fastgate.translate.listeners import Attachable

_KINDS = ("ECDSA", "Ed25519", "RSA")  # of keys, the one that is shown to clients that can do with it first


def tls_of(
    options: Tls, hostname: str, pairs: Sequence[KeyPair], authorities: Sequence[Authorities], *, required: bool
) -> Tls:
    """Return how TLS ends at a listener of this hostname, with these certificates, of which there is one at least.

    `authorities` are those that clients are verified by, none when they are not asked; `required` says whether they
    have to show a certificate.
    """
    clients = ClientValidation(tuple(each.digest for each in authorities), required) if authorities else None
    return replace(options, choices=_choices(hostname, pairs), clients=clients)


def _choices(hostname: str, pairs: Sequence[KeyPair]) -> tuple[CertificateChoice, ...]:
    default = CertificateChoice("", _one_of_each_kind(_companions(pairs)))
    names = {name: None for pair in pairs for name in _hostnames(pair) if intersects(hostname, name)}
    named = [
        CertificateChoice(name, _one_of_each_kind(_for_name(name, pairs))) for name in sorted(names, key=hostname_key)
    ]
    if all(choice.certificates == default.certificates for choice in named):
        return (default,)
    return (default, *named)


def _companions(pairs: Sequence[KeyPair]) -> list[KeyPair]:
    """Return the first certificate, and those that are for all of its names."""
    first = pairs[0]
    return [pair for pair in pairs if pair is first or set(first.names) <= set(pair.names)]


def _for_name(name: str, pairs: Sequence[KeyPair]) -> list[KeyPair]:
    """Return the certificates for a name, those that spell it first. A wildcard of theirs is one label (RFC 6125)."""
    wildcard = f"*.{name.partition('.')[2]}"
    exact = [pair for pair in pairs if name in pair.names]
    return exact + [pair for pair in pairs if pair not in exact and wildcard in pair.names]


def _one_of_each_kind(pairs: Iterable[KeyPair]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for pair in pairs:
        first.setdefault(pair.key_type.split()[0], pair.digest)
    return tuple(first[kind] for kind in _KINDS if kind in first)


def _hostnames(pair: KeyPair) -> list[str]:
    """Return the names of a certificate that a server name can be: addresses are none."""
    return [name for name in pair.names if not _is_address(name)]


def _is_address(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdecimal()


def mark_overlaps(listeners: Iterable[Attachable]) -> None:
    """Note which listeners of a Gateway a client might take for one another, with a connection that it has already.

    Listeners of one port overlap by their hostnames, or by the names in their certificates: then a client may send a
    request for the one on a connection to the other. It is answered 421 where that would make a difference.
    """
    ports: dict[int, list[Attachable]] = defaultdict(list)
    for listener in listeners:
        listener.overlap = None
        if listener.tls is not None and listener.served:
            ports[listener.port].append(listener)
    for group in ports.values():
        for listener in group:
            others = [other for other in group if other is not listener]
            certificates = [other.name for other in others if _certificates_overlap(listener, other)]
            hostnames = [other.name for other in others if intersects(listener.hostname, other.hostname)]
            if certificates:
                message = f"a certificate has names of listener {', '.join(certificates)}"
                listener.overlap = ("OverlappingCertificates", message)
            elif hostnames:
                listener.overlap = ("OverlappingHostnames", f"hostnames of listener {', '.join(hostnames)} overlap")


def _certificates_overlap(one: Attachable, other: Attachable) -> bool:
    return any(
        covers(name, theirs) or covers(theirs, name)
        for pair in one.certificates
        for name in _hostnames(pair)
        for other_pair in other.certificates
        for theirs in _hostnames(other_pair)
    )
