"""Keys that signatures are verified with, and which algorithms each of them is good for (RFC 8725 section 3.1)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwt.algorithms import AllowedPublicKeys

    Material: TypeAlias = AllowedPublicKeys | bytes

SYMMETRIC = frozenset(("HS256", "HS384", "HS512"))

_RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
_SMALLEST_RSA = 2048  # bits; RFC 7518 section 3.3
_LEAST_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes; RFC 7518 section 3.2
_MOST_KEYS = 100
_MOST_TRIED = 8  # keys for a token that does not say which it is signed with


class KeysError(Exception):
    """What was to be keys is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        id: its `kid`, "" without one.
        algorithms: of signatures that it verifies.
        material: as PyJWT takes it.
    """

    id: str
    algorithms: frozenset[str]
    material: Material


class KeySet:
    """Keys, found by what a token's header says."""

    def __init__(self, keys: Sequence[Key]) -> None:
        """Hold these."""
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def candidates(self, kid: str | None, algorithm: str) -> list[Key]:
        """Return the keys that a token may be signed with: those with its `kid`, or all when it has none."""
        fitting = [key for key in self._keys if algorithm in key.algorithms and (kid is None or key.id in (kid, ""))]
        named = [key for key in fitting if key.id == kid]
        return (named or fitting)[:_MOST_TRIED]


def secret(value: bytes, algorithms: Sequence[str]) -> KeySet:
    """Return the key set of a secret for HMAC.

    Raises:
        KeysError: it is too short to be one, or a public key, which is none (RFC 8725 section 2.1).
    """
    least = max(_LEAST_SECRET[algorithm] for algorithm in algorithms)
    if len(value) < least:
        raise KeysError(f"a secret for {', '.join(algorithms)} has at least {least} bytes, not {len(value)}")
    if value.lstrip().startswith(b"-----BEGIN"):
        raise KeysError("a secret for HMAC cannot be a key in PEM")
    return KeySet([Key("", frozenset(algorithms), value)])


def parse_keys(document: str | bytes | dict[str, Any]) -> KeySet:
    """Return the public keys of a JSON Web Key Set, or the one in PEM. Keys of no use here are left out.

    Raises:
        KeysError: it is neither, or nothing remains.
    """
    if isinstance(document, bytes):
        try:
            document = document.decode()
        except UnicodeDecodeError:
            raise KeysError("neither JSON nor PEM") from None
    if isinstance(document, str) and document.lstrip().startswith("-----BEGIN"):
        return KeySet([_of_pem(document)])
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError):
            raise KeysError("neither JSON nor PEM") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise KeysError('no JSON Web Key Set: that is an object with a list "keys"')
    if len(entries) > _MOST_KEYS:
        raise KeysError(f"{len(entries)} keys are more than {_MOST_KEYS}")
    keys = [key for entry in entries if (key := _of_jwk(entry)) is not None]
    if not keys:
        raise KeysError("no public key for signatures that is of use is among its keys")
    return KeySet(keys)


def _of_jwk(entry: Any) -> Key | None:
    if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    public = {name: value for name, value in entry.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    kid = entry.get("kid", "")
    try:
        material = jwt.PyJWK({**public, "alg": None}).key
        algorithms = _algorithms(material)
    except (jwt.PyJWTError, UnsupportedAlgorithm, OverflowError, ValueError, TypeError, KeyError, KeysError):
        return None
    if "alg" in entry:
        algorithms &= {entry["alg"]} if isinstance(entry["alg"], str) else set()
    return Key(kid, algorithms, material) if algorithms and isinstance(kid, str) else None


def _of_pem(text: str) -> Key:
    try:
        material = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise KeysError("no public key in PEM: that begins with -----BEGIN PUBLIC KEY-----") from None
    return Key("", _algorithms(material), material)  # type: ignore[arg-type] # of a kind that has algorithms


def _algorithms(material: object) -> frozenset[str]:
    match material:
        case rsa.RSAPublicKey():
            if material.key_size < _SMALLEST_RSA:
                raise KeysError(f"an RSA key of {material.key_size} bits is too short: {_SMALLEST_RSA} at least")
            return _RSA
        case ec.EllipticCurvePublicKey() if material.curve.name in _CURVES:
            return frozenset((_CURVES[material.curve.name],))
        case ed25519.Ed25519PublicKey():
            return frozenset(("EdDSA",))
    raise KeysError("keys are RSA, of the curves P-256, P-384, P-521 and secp256k1, or Ed25519")
