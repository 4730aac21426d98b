"""Certificates, keys and authorities in PEM, checked before anybody serves with them.

Every error is a `CertificateError` whose message names what is wrong and repeats nothing of a key.
"""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import ocsp

from fastgate.ir import Authorities, KeyPair

STAPLE = "tls.ocsp-staple"  # key of a Secret: the OCSP response for its certificate, in DER
TLS_SECRET = "kubernetes.io/tls"  # noqa: S105 - a type
_MIN_RSA = 2048  # bits; TLS libraries of today refuse less
_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


class CertificateError(Exception):
    """A certificate, key or bundle of authorities cannot be used; the message says why and may be shown to anybody."""


def key_pair_of(secret: Any) -> KeyPair:
    """Return the certificate and key of a Secret of type kubernetes.io/tls."""
    if secret.type != TLS_SECRET:
        raise CertificateError(f"is of type {secret.type or 'Opaque'}, not {TLS_SECRET}")
    staple = secret_value(secret, STAPLE) if STAPLE in (secret.data or {}) else b""
    return key_pair(secret_value(secret, "tls.crt"), secret_value(secret, "tls.key"), staple)


def secret_value(secret: Any, key: str) -> bytes:
    """Return what a Secret holds under a key."""
    encoded = (secret.data or {}).get(key)
    if not encoded:
        raise CertificateError(f"has no {key}")
    try:
        return base64.b64decode(encoded)
    except ValueError:
        raise CertificateError(f"{key} is no base64") from None


def key_pair(chain: bytes, key: bytes, staple: bytes = b"") -> KeyPair:
    """Check that a chain and a key, in PEM, can be read and belong together. `staple`: an OCSP response, or none."""
    if staple:
        _check_staple(staple)
    certificates = _certificates(chain, "tls.crt")
    private = _private_key(key)
    leaf = certificates[0]
    try:
        belong = leaf.public_key() == private.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("tls.crt has a key of a kind that is not supported") from None
    if not belong:
        raise CertificateError("tls.key is not the key of the first certificate in tls.crt")
    chain = _pem(certificates)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _check_served(chain + key)
    return KeyPair(
        digest=hashlib.sha256(chain + key + staple).hexdigest(),
        names=_names(leaf),
        key_type=_key_type(private),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        chain=chain,
        key=key,
        staple=staple,
    )


def authorities(bundle: bytes, where: str = "ca.crt") -> Authorities:
    """Check a bundle of authorities in PEM; `where` names it in messages."""
    pem = _pem(list(dict.fromkeys(_certificates(bundle, where))))
    _check_trusted(pem, where)
    return Authorities(hashlib.sha256(pem).hexdigest(), pem)


def _certificates(text: bytes, where: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text)
    except (ValueError, x509.InvalidVersion):
        wrong = "has a certificate that cannot be read" if b"-----BEGIN" in text else "holds no certificate in PEM"
        raise CertificateError(f"{where} {wrong}") from None


def _check_served(pair: bytes) -> None:
    """Have OpenSSL judge a chain and its key: a worker that cannot use what others read refuses all of an image."""
    fd = os.memfd_create("fastgate-pair", os.MFD_CLOEXEC)  # the library reads files only
    try:
        os.write(fd, pair)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{fd}")
    except ssl.SSLError as e:
        raise CertificateError(f"tls.crt cannot be served: {_reason(e)}") from None
    finally:
        os.close(fd)


def _check_trusted(bundle: bytes, where: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=bundle.decode())
    except ssl.SSLError as e:
        raise CertificateError(f"{where} cannot be verified by: {_reason(e)}") from None


def _reason(e: ssl.SSLError) -> str:
    return (e.reason or "the TLS library cannot read it").replace("_", " ").lower()


def _check_staple(response: bytes) -> None:
    try:
        status = ocsp.load_der_ocsp_response(response).response_status
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{STAPLE} is no OCSP response in DER") from None
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise CertificateError(f"{STAPLE} is an OCSP response that says {status.name.lower()}")


def _private_key(text: bytes) -> _Key:
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        raise CertificateError("tls.key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError("tls.key holds no private key that can be read") from None
    if isinstance(key, RSAPrivateKey) and key.key_size < _MIN_RSA:
        raise CertificateError(f"tls.key has {key.key_size} bits; RSA keys have at least {_MIN_RSA}")
    if isinstance(key, EllipticCurvePrivateKey) and key.curve.name not in _CURVES:
        raise CertificateError(f"tls.key is of curve {key.curve.name}, which is not supported")
    if not isinstance(key, _Key):
        raise CertificateError("tls.key is neither RSA nor ECDSA nor Ed25519")
    return key


def _key_type(key: _Key) -> str:
    if isinstance(key, RSAPrivateKey):
        return f"RSA {key.key_size}"
    return f"ECDSA {_CURVES[key.curve.name]}" if isinstance(key, EllipticCurvePrivateKey) else "Ed25519"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise CertificateError("tls.crt has extensions that cannot be read") from None
    hosts = (name.lower() for name in found.get_values_for_type(x509.DNSName))
    return (*hosts, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
