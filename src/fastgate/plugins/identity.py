"""Who and what is at the other ends of a request: its client, and the endpoints that it may be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Client(NamedTuple):
    """Where a request comes from, after what trusted proxies said."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """The TLS connection that a request came by, and the certificate that its client showed.

    Attributes:
        version: such as "TLSv1.3".
        server_name: that the client asked for, "" when it named none.
        subject: of the certificate as RFC 4514 writes it, "" without one; likewise below.
        dns_names: subject alternative names of type dNSName.
        uris: subject alternative names of type URI, such as SPIFFE IDs.
        fingerprint: SHA-256 of the certificate, in hexadecimal.
    """

    version: str
    server_name: str = ""
    subject: str = ""
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that a request may be sent to.

    Attributes:
        backend: "Service/namespace/name/port" or "Backend/namespace/name".
        address: an IP address.
        port: of it.
        weight: among the endpoints of its backend.
    """

    backend: str
    address: str
    port: int
    weight: int = 1
