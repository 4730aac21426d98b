"""The `options` of a listener's TLS: `fastgate.dev/...` names and what their values mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.ir import Tls
from fastgate.translate.tls_options import PREFIX, VERSIONS, OptionError, unknown, versions

if TYPE_CHECKING:
    from collections.abc import Mapping

CIPHERS, CIPHER_SUITES, CURVES, ALPN = (f"{PREFIX}{name}" for name in ("ciphers", "cipher-suites", "curves", "alpn"))
NAMES = (*VERSIONS, CIPHERS, CIPHER_SUITES, CURVES, ALPN)

# Forward secrecy is what a cipher has to have; every OpenSSL that workers are built with knows all of these.
TLS12_CIPHERS = tuple(
    f"ECDHE-{key}-{cipher}"
    for cipher in (
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "CHACHA20-POLY1305",
        "AES128-SHA256",
        "AES256-SHA384",
        "AES128-SHA",
        "AES256-SHA",
    )
    for key in ("ECDSA", "RSA")
)
TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
GROUPS = ("X25519", "P-256", "X448", "P-384", "P-521")
HTTP_ALPN = ("http/1.1",)
_MAX_ALPN = 255  # bytes of a name (RFC 7301 section 3.1)


def options_of(protocol: str, options: Mapping[str, str]) -> Tls:
    """Return what the options of a listener of this protocol ask for: a Tls without certificates.

    Raises:
        OptionError: one of ours is not known, or has a value that cannot be used.
    """
    for key in unknown(options, NAMES):
        raise OptionError(key, f"is not an option; options are {', '.join(NAMES)}")
    first, last = versions(options)
    return Tls(
        (),
        first,
        last,
        ciphers=":".join(_list(options, CIPHERS, TLS12_CIPHERS)),
        ciphersuites=":".join(_list(options, CIPHER_SUITES, TLS13_SUITES)),
        groups=":".join(_list(options, CURVES, GROUPS)),
        alpn=_alpn(protocol, options),
    )


def _alpn(protocol: str, options: Mapping[str, str]) -> tuple[str, ...]:
    if protocol == "HTTPS":
        return _list(options, ALPN, HTTP_ALPN) or HTTP_ALPN
    names = _parts(options, ALPN)
    for name in names:
        if not name.isascii() or not name.isprintable() or len(name) > _MAX_ALPN:
            raise OptionError(ALPN, f"{name!r} is no name of a protocol")
    return names


def _list(options: Mapping[str, str], key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    found = _parts(options, key)
    for part in found:
        if part not in known:
            raise OptionError(key, f"{part!r} is not supported; what is: {', '.join(known)}")
    return found


def _parts(options: Mapping[str, str], key: str) -> tuple[str, ...]:
    """Return a list that is separated by commas or colons, each part once."""
    value = options.get(key)
    if value is None:
        return ()
    parts = tuple(dict.fromkeys(part.strip() for part in value.replace(":", ",").split(",")))
    if "" in parts:
        raise OptionError(key, "has an empty part")
    return parts
