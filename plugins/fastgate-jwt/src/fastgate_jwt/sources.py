"""Where tokens stand in requests, and how they are taken out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

if TYPE_CHECKING:
    import fastgate
    from fastgate_jwt.config import Source


def tokens(request: fastgate.Request, source: Source) -> list[str]:
    """Return the tokens that a request has at a place; a field of another scheme has none."""
    if source.header is not None:
        values = request.headers.getall(source.header)
        if not source.scheme:
            return values
        words = (value.partition(" ") for value in values)
        return [rest.strip(" ") for scheme, _, rest in words if scheme.lower() == source.scheme.lower()]
    if source.cookie is not None:
        return [value for name, value in _cookies(request) if name == source.cookie]
    return [value for name, value in _parameters(request) if name == source.query]


def strip(request: fastgate.Request, source: Source) -> None:
    """Take the tokens of a place out of a request, and leave what else is there as it was written."""
    if source.header is not None:
        if tokens(request, source):
            del request.headers[source.header]
    elif source.cookie is not None:
        if any(name == source.cookie for name, _ in _cookies(request)):
            pairs = (pair.strip(" ") for pair in request.headers.get("cookie", "").split(";"))
            kept = [pair for pair in pairs if pair.partition("=")[0].strip(" ") != source.cookie]
            if kept:
                request.headers["cookie"] = "; ".join(kept)
            else:
                del request.headers["cookie"]
    elif any(name == source.query for name, _ in _parameters(request)):
        pairs = (pair for pair in request.query.split("&"))
        request.query = "&".join(pair for pair in pairs if unquote_plus(pair.partition("=")[0]) != source.query)


def _cookies(request: fastgate.Request) -> list[tuple[str, str]]:
    """Names and values, as RFC 6265 section 5.4 has clients write them; values may be in quotes."""
    found = []
    for pair in request.headers.get("cookie", "").split(";"):
        name, equals, value = pair.partition("=")
        if equals:
            found.append((name.strip(" "), value.strip(" ").removeprefix('"').removesuffix('"')))
    return found


def _parameters(request: fastgate.Request) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in request.query.split("&"))
    return [(unquote_plus(name), unquote_plus(value)) for name, _, value in pairs]
