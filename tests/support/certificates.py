"""Certificates and keys for tests, made when they are asked for: no key is kept in a file."""

from __future__ import annotations

import base64
import functools
import ipaddress
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

BEGIN, END = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)


def issued(
    names: tuple[str, ...], key: Any = None, issuer: tuple[x509.Name, Any] | None = None, end: datetime = END
) -> x509.Certificate:
    """A certificate for names; self-signed, and of an authority, without an issuer."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0] if names else "none")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0] if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    return builder.sign(issuer[1] if issuer else key, None if _is_edwards(issuer, key) else hashes.SHA256())


def pem(thing: Any) -> bytes:
    """A certificate or key in PEM."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(Encoding.PEM)
    return thing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def common_names(bundle: bytes) -> list[str]:
    """The common names of certificates in PEM, in their order."""
    found = x509.load_pem_x509_certificates(bundle)
    return [str(each.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value) for each in found]


def filled(document: dict[str, Any]) -> dict[str, Any]:
    """A document with PEM where `data` or `spec` says `@certificate NAMES` or `@key NAMES`; in base64 if it is a Secret.

    NAMES are separated by commas; `rsa` may follow, for a key that is not ECDSA.
    """
    field = "spec" if document["kind"] == "ClusterTrustBundle" else "data"
    if document["kind"] not in ("ClusterTrustBundle", "ConfigMap", "Secret") or field not in document:
        return document
    encoded = document["kind"] == "Secret"
    return {**document, field: {key: _value(value, encoded) for key, value in document[field].items()}}


def _value(value: str, encoded: bool) -> str:
    if not value.startswith("@"):
        return value
    what, *names = value.removeprefix("@").split()
    certificate, key = _pair(*names)
    text = {"certificate": certificate, "key": key}[what]
    return base64.b64encode(text).decode() if encoded else text.decode()


@functools.cache
def _pair(names: str, kind: str = "ecdsa") -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    return pem(issued(tuple(names.split(",")), key)), pem(key)


def _name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_edwards(issuer: tuple[x509.Name, Any] | None, key: Any) -> bool:
    return type(issuer[1] if issuer else key).__name__ == "Ed25519PrivateKey"
