"""What has a bucket of its own: a template that is filled in from a request."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import fastgate

    Part = Callable[["Template", fastgate.Request, fastgate.Context], str]

_KEPT = 4096  # addresses whose networks are known
_PLACEHOLDER = re.compile(r"\{([a-z]+)(?::([^{}]+))?\}")


class Template:
    """A text with placeholders, each of which is "" when a request has no such thing.

    {client}, {method}, {host}, {path}, {route}, {rule}, {header:NAME}, {claim:PATH} of a token that
    fastgate-jwt validated.
    """

    def __init__(self, text: str, *, ipv4_prefix: int = 32, ipv6_prefix: int = 64) -> None:
        """Read it; ValueError says what is wrong with it."""
        self._network = lru_cache(maxsize=_KEPT)(partial(_network, ipv4_prefix, ipv6_prefix))
        self._parts = [self._part(found[1], found[2]) for found in _PLACEHOLDER.finditer(text)]
        self._text = _PLACEHOLDER.sub("\0", text)
        if "{" in self._text or "}" in self._text:
            raise ValueError(f"{text!r} has a brace that is of no placeholder such as {{client}} or {{header:x-user}}")

    def key(self, request: fastgate.Request, context: fastgate.Context) -> bytes:
        """Return a request's key. No two requests whose parts differ have the same."""
        parts = [self._text, *(part(self, request, context) for part in self._parts)]
        return b"".join(b"%d:%s" % (len(part), part) for part in (text.encode() for text in parts))

    def _part(self, name: str, argument: str | None) -> Part:
        if name in _PLAIN and argument is None:
            return _PLAIN[name]
        if name == "header" and argument:
            return lambda _, request, __: request.headers.get(argument, "")
        if name == "claim" and argument:
            return _claim(argument)
        raise ValueError(f"there is no {{{name}{':' + argument if argument else ''}}}: see the list in README.md")

    def _client(self, request: fastgate.Request, _: fastgate.Context) -> str:
        return self._network(request.client.address)


def _network(ipv4_prefix: int, ipv6_prefix: int, address: str) -> str:
    """The part of an address that counts; IPv4 in IPv6 is IPv4."""
    parsed = ipaddress.ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    prefix = ipv4_prefix if parsed.version == 4 else ipv6_prefix  # noqa: PLR2004 - of IP
    return str(ipaddress.ip_network((parsed, prefix), strict=False))


_PLAIN: dict[str, Part] = {
    "client": Template._client,  # noqa: SLF001 - of this module
    "method": lambda _, request, __: request.method,
    "host": lambda _, request, __: request.host.lower(),
    "path": lambda _, request, __: request.path,
    "route": lambda _, request, __: request.route,
    "rule": lambda _, request, __: request.rule,
}


def _claim(path: str) -> Part:
    try:
        from fastgate_jwt import CLAIMS, claim  # noqa: PLC0415 - optional
    except ImportError:
        raise ValueError("claims need fastgate-jwt: pip install fastgate-ratelimit[jwt]") from None

    def of_token(_: Template, __: fastgate.Request, context: fastgate.Context) -> str:
        value: Any = claim(context.get(CLAIMS, {}), path)
        return "" if value is None else str(value)

    return of_token
