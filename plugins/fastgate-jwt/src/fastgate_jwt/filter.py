"""The filter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import jwt

import fastgate
from fastgate_jwt import keys, sources
from fastgate_jwt.config import Config
from fastgate_jwt.remote import RemoteKeys

CLAIMS = fastgate.StateKey[Mapping[str, Any]]("claims")

_LONGEST = 16 * 1024  # characters of a token
_PLAIN = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")  # of values in header fields
_MISSING = object()


class _Refused(Exception):  # noqa: N818 - an answer
    """A request is answered here (RFC 6750 section 3.1)."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description = status, error, description


class JWT(fastgate.Filter[Config]):
    """Lets requests pass that have a valid token."""

    def __init__(self, config: Config | None = None) -> None:
        """Read the keys that are there already; ValueError says what is wrong with them."""
        super().__init__(config)
        source = self.config.keys
        self._remote = RemoteKeys(source) if source.url is not None else None
        self._local = self._read_keys() if self._remote is None else None
        self._options: jwt.types.Options = {
            "require": self.config.require,
            "verify_aud": self.config.audiences is not None,
            "verify_iss": self.config.issuer is not None,
            "enforce_minimum_key_length": True,
        }

    async def start(self) -> None:
        """Begin to fetch keys."""
        if self._remote is not None:
            await self._remote.start()

    async def stop(self) -> None:
        """Fetch no more."""
        if self._remote is not None:
            await self._remote.stop()

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Validate the request's token."""
        try:
            token = self._token(request)
            claims = await self._validated(token) if token is not None else None
        except _Refused as e:
            context.count(f"jwt_{e.error or 'missing'}")
            return self._answer(e)
        if not self.config.forward:
            for source in self.config.sources:
                sources.strip(request, source)
        for field in self.config.claims_to_headers:
            del request.headers[field]
        if claims is None:
            return None
        context[CLAIMS] = claims
        if isinstance(subject := claims.get("sub"), str):
            context.log["jwt_subject"] = subject
        for field, path in self.config.claims_to_headers.items():
            if (value := claim(claims, path, _MISSING)) is not _MISSING:
                request.headers[field] = _written(value)
        return None

    def _read_keys(self) -> keys.KeySet:
        source = self.config.keys
        try:
            if source.secret is not None and set(self.config.algorithms) & keys.SYMMETRIC:
                return keys.secret(source.secret.raw, self.config.algorithms)
            ref = source.secret or source.config_map
            document = ref.raw if ref is not None else source.inline
            assert document is not None  # noqa: S101 - the configuration has one of them
            return keys.parse_keys(document)
        except keys.KeysError as e:
            raise ValueError(f"keys: {e}") from None

    def _token(self, request: fastgate.Request) -> str | None:
        found = [token for source in self.config.sources for token in sources.tokens(request, source)]
        if not found:
            if self.config.optional:
                return None
            raise _Refused(401, "", "")
        if len(found) > 1:  # one of them would reach the backend without having been seen
            raise _Refused(400, "invalid_request", "the request has several tokens")
        if len(found[0]) > _LONGEST:
            raise _Refused(401, "invalid_token", "the token is too long")
        return found[0]

    async def _validated(self, token: str) -> dict[str, Any]:
        """Return the claims of a token."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise _Refused(401, "invalid_token", "the token is malformed") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.config.algorithms:
            raise _Refused(401, "invalid_token", "the token's algorithm is not allowed")
        claims = None
        for key in await self._candidates(kid, str(algorithm)):
            claims = self._verified(token, key)
            if claims is not None:
                break
        if claims is None:
            raise _Refused(401, "invalid_token", "the token is not signed with a known key")
        self._check_scopes(claims)
        return claims

    async def _candidates(self, kid: str | None, algorithm: str) -> list[keys.Key]:
        if self._remote is None:
            return self._local.candidates(kid, algorithm) if self._local is not None else []
        known = self._remote.current
        found = known.candidates(kid, algorithm) if known is not None else []
        if not found and await self._remote.renewed():
            known = self._remote.current
            found = known.candidates(kid, algorithm) if known is not None else []
        if known is None:
            raise _Refused(503, "unavailable", "")
        return found

    def _verified(self, token: str, key: keys.Key) -> dict[str, Any] | None:
        """The claims of a token that is signed with a key and valid; None when it is signed with another."""
        config = self.config
        allowed = sorted(key.algorithms.intersection(config.algorithms))
        try:
            return jwt.decode(
                token, key.material, allowed, self._options,
                audience=config.audiences, issuer=config.issuer, leeway=config.leeway,
            )  # fmt: skip
        except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
            return None
        except jwt.InvalidTokenError as e:
            _refuse(e)

    def _check_scopes(self, claims: dict[str, Any]) -> None:
        if not self.config.scopes:
            return
        given = claims.get("scope", claims.get("scp", ""))
        granted = given.split(" ") if isinstance(given, str) else given
        if not isinstance(granted, list) or not set(self.config.scopes) <= {s for s in granted if isinstance(s, str)}:
            raise _Refused(403, "insufficient_scope", "the token lacks a scope")

    def _answer(self, refused: _Refused) -> fastgate.Response:
        if refused.status == 503:  # noqa: PLR2004 - not the client's fault: no challenge
            return fastgate.Response(503, "keys are not available\n", {"retry-after": "1"})
        challenge = f'Bearer realm="{self.config.realm}"'
        if refused.error:
            challenge += f', error="{refused.error}", error_description="{refused.description}"'
        if refused.error == "insufficient_scope":
            challenge += f', scope="{" ".join(self.config.scopes)}"'
        text = refused.description or "a token is needed"
        return fastgate.Response(refused.status, text + "\n", {"www-authenticate": challenge})


def claim(claims: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return a claim by its name, or by the names of objects around it: `realm_access.roles`."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return default
        found = found[name]
    return found


def _written(value: Any) -> str:
    """A claim as a field's value. Two that differ are written differently, but for 1 and "1"."""
    if isinstance(value, list) and all(isinstance(part, str | int | float | bool) for part in value):
        return ",".join(quote(_text(part), safe=_PLAIN.replace(",", "")) for part in value)
    return quote(_text(value), safe=_PLAIN)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _refuse(error: jwt.InvalidTokenError) -> NoReturn:
    """Say what is wrong with a token, in words of our own: PyJWT's may quote it."""
    match error:
        case jwt.ExpiredSignatureError():
            said = "the token has expired"
        case jwt.ImmatureSignatureError():
            said = "the token is not valid yet"
        case jwt.InvalidAudienceError():
            said = "the token is for another audience"
        case jwt.InvalidIssuerError():
            said = "the token is from another issuer"
        case jwt.MissingRequiredClaimError():
            said = f"the token has no claim {error.claim}"
        case _:
            said = "the token is malformed"
    raise _Refused(401, "invalid_token", said) from None
