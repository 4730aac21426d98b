"""How TLS ends at a listener: which certificates are for which names, and which of its neighbours' names overlap."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from fastgate.ir import CertificateChoice, ClientValidation
from fastgate.translate.hostnames import intersects
from fastgate.translate.precedence import hostname_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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
        hostnames = _overlapping({listener: (listener.hostname,) for listener in group})
        certificates = _overlapping(
            {listener: [name for pair in listener.certificates for name in _hostnames(pair)] for listener in group}
        )
        for listener, other in hostnames.items():
            listener.overlap = ("OverlappingHostnames", f"the hostname overlaps with that of listener {other.name}")
        for listener, other in certificates.items():  # is what counts when both hold
            listener.overlap = ("OverlappingCertificates", f"a certificate has a name of listener {other.name}, too")


def _overlapping(names: Mapping[Attachable, Iterable[str]]) -> dict[Attachable, Attachable]:
    """Return the listeners of which a name is another's, or covers it or is covered by it, each with one such other.

    The time is linear in the names: a name is looked for by those that can cover it, which are as many as its labels.
    """
    owners: dict[str, list[Attachable]] = defaultdict(list)
    for listener, own in names.items():
        for name in dict.fromkeys(own):
            owners[name].append(listener)
    found: dict[Attachable, Attachable] = {}
    done: set[str] = set()  # names all of whose owners are known to overlap
    for name, holders in owners.items():
        for pattern in _covering(name):
            coverers = owners.get(pattern)
            if coverers is None:
                continue
            _mark(found, holders, coverers)
            if pattern not in done:
                _mark(found, coverers, holders)
                if all(listener in found for listener in coverers):
                    done.add(pattern)
    return found


def _mark(found: dict[Attachable, Attachable], listeners: Iterable[Attachable], others: Iterable[Attachable]) -> None:
    for listener in listeners:
        if listener not in found:
            other = next((each for each in others if each is not listener), None)
            if other is not None:
                found[listener] = other


def _covering(name: str) -> Iterator[str]:
    """Return the patterns that every host of a name or pattern belongs to, itself the first."""
    yield name
    if not name:
        return
    rest = name.removeprefix("*.")
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    yield ""
