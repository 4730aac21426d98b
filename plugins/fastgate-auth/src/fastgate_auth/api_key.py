"""API keys: long random strings, of which only the hash is stored."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import unquote_plus

import fastgate
from fastgate_auth.config import APIKeyConfig, Source
from fastgate_auth.identity import entries, tell

_HASH = re.compile(r"[0-9a-f]{64}")


class APIKey(fastgate.Filter[APIKeyConfig]):
    """Lets requests pass that have a key."""

    def __init__(self, config: APIKeyConfig | None = None) -> None:
        """Read the keys; ValueError says what is wrong with them."""
        super().__init__(config)
        self._names = _read(self.config.keys.value)

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Look for the request's key."""
        config = self.config
        found = [key for source in config.sources for key in _keys(request, source)]
        if len(found) > 1:  # one of them would reach the backend without having been seen
            context.count("api_key_several")
            return fastgate.Response(400, "the request has several keys\n")
        name = self._name(found[0]) if found else None
        if name is None:
            context.count("api_key_wrong" if found else "api_key_missing")
            text = "the key is not known\n" if found else "a key is needed\n"
            return fastgate.Response(401, text, {"www-authenticate": f'ApiKey realm="{config.realm}"'})
        if not config.forward:
            for source in config.sources:
                _strip(request, source)
        tell(request, context, name, config.identity_header)
        return None

    def _name(self, key: str) -> str | None:
        """Whose key it is. What is looked up is the hash, so that time tells nothing about keys that are stored."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        stored, name = self._names.get(digest, ("0" * 64, ""))
        return name if hmac.compare_digest(stored, digest) and name else None


def _read(text: str) -> dict[str, tuple[str, str]]:
    """Hashes and names by hash."""
    names: dict[str, tuple[str, str]] = {}
    for number, name, rest in entries("keys", text):
        digest = rest.strip().lower().removeprefix("sha256:")
        if not _HASH.fullmatch(digest):
            raise ValueError(f"keys, line {number}: the hash of {name} is not a SHA-256 in hexadecimal")
        if digest in names:
            raise ValueError(f"keys, line {number}: the key of {name} is there already")
        names[digest] = (digest, name)
    if not names:
        raise ValueError("keys: there are none")
    return names


def _keys(request: fastgate.Request, source: Source) -> list[str]:
    if source.header is not None:
        return request.headers.getall(source.header)
    if source.cookie is not None:
        return [_after(pair).strip(' "') for pair in _cookies(request) if _before(pair).strip(" ") == source.cookie]
    pairs = request.query.split("&")
    return [unquote_plus(_after(pair)) for pair in pairs if unquote_plus(_before(pair)) == source.query]


def _strip(request: fastgate.Request, source: Source) -> None:
    """Take the keys of a place out of a request, and leave what else is there as it was written."""
    if not _keys(request, source):
        return
    if source.header is not None:
        del request.headers[source.header]
    elif source.cookie is not None:
        kept = [pair for pair in _cookies(request) if _before(pair).strip(" ") != source.cookie]
        if kept:
            request.headers["cookie"] = "; ".join(kept)
        else:
            del request.headers["cookie"]
    else:
        pairs = request.query.split("&")
        request.query = "&".join(pair for pair in pairs if unquote_plus(_before(pair)) != source.query)


def _cookies(request: fastgate.Request) -> list[str]:
    return [pair.strip(" ") for pair in request.headers.get("cookie", "").split(";")]


def _before(pair: str) -> str:
    return pair.partition("=")[0]


def _after(pair: str) -> str:
    return pair.partition("=")[2]
