"""Who is who between controllers and data planes: an authority of their own, and certificates by it.

A controller's certificate is for the name `fastgate-controller` and may serve; a data plane's has the URI
`fastgate://gateway/NAMESPACE/NAME` and may ask. Neither can pass for the other.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fastgate.remote.wire import SERVER_NAME

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY_DAYS, CONTROLLER_DAYS, DATA_PLANE_DAYS = 3650, 30, 90
RENEWED_AT = 2 / 3  # of its life a certificate is replaced
_EARLY = timedelta(minutes=5)  # clocks differ
_PREFIX = "fastgate://gateway/"

Name = tuple[str, str]


class IdentityError(Exception):
    """A certificate, key or authority cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, its key and who vouches for the other side; all in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes

    @classmethod
    def read(cls, directory: Path) -> Identity:
        """Read what a Secret has mounted. OSError: it is not there."""
        return cls(*((directory / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")))

    def renews_at(self) -> datetime:
        """Return when it is to be replaced. IdentityError: it is no certificate."""
        try:
            own = x509.load_pem_x509_certificate(self.certificate)
        except ValueError as e:
            raise IdentityError(str(e)) from None
        begin, end = own.not_valid_before_utc, own.not_valid_after_utc
        return begin + (end - begin) * RENEWED_AT


class Authority:
    """Issues certificates to controllers and data planes."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """Use this authority, in PEM. IdentityError: it cannot be used."""
        try:
            self._own = x509.load_pem_x509_certificate(certificate)
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError) as e:
            raise IdentityError(f"the authority of the data planes: {e}") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != self._own.public_key():
            raise IdentityError("the authority of the data planes: the key is not that of the certificate")
        self._key = private
        self.certificate = certificate
        self.key = key

    @classmethod
    def new(cls) -> Authority:
        """Make one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fastgate data planes")])
        builder = (
            _begun(name, name, key, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(_pem(builder.sign(key, hashes.SHA256())), _pem(key))

    def controller(self) -> Identity:
        """Return an identity for a controller."""
        return self._issued(x509.DNSName(SERVER_NAME), ExtendedKeyUsageOID.SERVER_AUTH, SERVER_NAME, CONTROLLER_DAYS)

    def data_plane(self, gateway: Name) -> Identity:
        """Return an identity for the data planes of a Gateway."""
        uri = x509.UniformResourceIdentifier(_PREFIX + "/".join(gateway))
        return self._issued(uri, ExtendedKeyUsageOID.CLIENT_AUTH, "fastgate data plane", DATA_PLANE_DAYS)

    def issued(self, identity: Identity, gateway: Name) -> bool:
        """Say whether an identity is of ours, for this Gateway, and has its key."""
        try:
            own = x509.load_pem_x509_certificate(identity.certificate)
            key = load_pem_private_key(identity.key, None)
            own.verify_directly_issued_by(self._own)
            names = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        is_its_own = own.public_key() == key.public_key() and identity.authority == self.certificate
        return is_its_own and uris == [_PREFIX + "/".join(gateway)]

    def _issued(self, name: x509.GeneralName, usage: x509.ObjectIdentifier, common: str, days: int) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = (
            _begun(subject, self._own.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return Identity(_pem(builder.sign(self._key, hashes.SHA256())), _pem(key), self.certificate)


def serving(identity: Identity) -> ssl.SSLContext:
    """Return how a controller takes data planes. IdentityError: it cannot."""
    return _context(identity, ssl.PROTOCOL_TLS_SERVER)


def asking(identity: Identity) -> ssl.SSLContext:
    """Return how a data plane reaches its controller, whose name is `wire.SERVER_NAME`. IdentityError: it cannot."""
    return _context(identity, ssl.PROTOCOL_TLS_CLIENT)


def gateway_of(certificate: Any) -> Name | None:
    """Return the Gateway that a peer's certificate (as of `SSLSocket.getpeercert`) names; None: none."""
    uris = [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1 or not uris[0].startswith(_PREFIX):
        return None
    namespace, _, name = uris[0].removeprefix(_PREFIX).partition("/")
    return (namespace, name) if namespace and name and "/" not in name else None


def load(context: ssl.SSLContext, identity: Identity) -> None:
    """Have connections that begin from now on show this identity. IdentityError: it cannot be used."""
    try:
        context.load_verify_locations(cadata=identity.authority.decode("ascii"))
        with NamedTemporaryFile() as file:  # mode 0600; the library reads files only
            file.write(identity.certificate + identity.key)
            file.flush()
            context.load_cert_chain(file.name)
    except (ssl.SSLError, ValueError) as e:
        raise IdentityError(f"the identity cannot be used: {e}") from None


def _context(identity: Identity, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    load(context, identity)
    return context


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, key_cert_sign: bool = False, digital_signature: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(thing: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(Encoding.PEM)
    return thing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
