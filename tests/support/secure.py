"""Listeners that end TLS, and clients that speak it to them."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from certificates import END, issued, pem
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fastgate import certificates, ir
from wire import TIMEOUT, Conn, forward, match

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from wire import Proxy


class Authority:
    """An authority and what it issues."""

    def __init__(self, name: str = "root") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate: x509.Certificate = issued((name,), self.key)

    @property
    def pem(self) -> str:
        return pem(self.certificate).decode()

    @property
    def bundle(self) -> ir.Authorities:
        return certificates.authorities(self.pem.encode())

    def issue(self, *names: str, bits: int = 0, staple: bytes = b"", end: datetime = END) -> ir.KeyPair:
        """A pair of ECDSA P-256, or of RSA with so many bits."""
        key: Any = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
        leaf = issued(names, key, (self.certificate.subject, self.key), end)
        return certificates.key_pair(pem(leaf), pem(key), staple)


def terminating(*pairs: ir.KeyPair, by_name: dict[str, tuple[ir.KeyPair, ...]] | None = None, **terms: Any) -> ir.Tls:
    """TLS with these pairs for all names, but for those of `by_name`."""
    choices = [ir.CertificateChoice("", tuple(p.digest for p in pairs))]
    choices += [ir.CertificateChoice(n, tuple(p.digest for p in some)) for n, some in (by_name or {}).items()]
    return ir.Tls(tuple(choices), **terms)


def listener(tls: ir.Tls, hostname: str = "", name: str = "l", *matches: ir.Match) -> ir.Listener:
    """An HTTPS listener that forwards everything to cluster "c"."""
    hosts = (ir.VirtualHost(hostname, matches or (match(forward()),)),)
    return ir.Listener(f"Gateway/ns/g/{name}", "ns/g", name, hostname, "HTTPS", hosts, tls=tls)


def config(
    *listeners: ir.Listener,
    pairs: tuple[ir.KeyPair, ...] = (),
    authorities: tuple[ir.Authorities, ...] = (),
    settings: ir.Settings = ir.Settings(),
    limits: dict[str, int] | None = None,
) -> ir.Ir:
    """One socket with these listeners, those with the most specific hostname first."""
    if limits:
        settings = replace(settings, limits=replace(settings.limits, **limits))
    return ir.Ir(
        (ir.Socket("127.0.0.1", 443, listeners, settings),),
        (ir.Cluster("c"),),
        tuple(sorted(pairs, key=lambda p: p.digest)),
        tuple(sorted(authorities, key=lambda a: a.digest)),
    )


def trusting(authority: Authority, *, shows: ir.KeyPair | None = None, tmp_path: Any = None) -> ssl.SSLContext:
    """What a client begins with that trusts an authority. What it shows goes through a file in `tmp_path`."""
    context = ssl.create_default_context(cadata=authority.pem)
    if shows:
        path = tmp_path / "shown.pem"
        path.write_bytes(shows.chain + shows.key)
        context.load_cert_chain(path)
    return context


def open_tls(
    proxy: Proxy, context: ssl.SSLContext, name: str | None = "a.example", session: ssl.SSLSession | None = None
) -> Conn:
    """A connection whose handshake is over."""
    sock = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT)
    conn = Conn(context.wrap_socket(sock, server_hostname=name, session=session))
    proxy.conns.append(conn)
    return conn
