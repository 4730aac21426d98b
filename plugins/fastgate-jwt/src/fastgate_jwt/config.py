"""What can be configured."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, model_validator
from pydantic.alias_generators import to_camel

import fastgate
from fastgate_jwt.keys import SYMMETRIC, KeysError, parse_keys

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA",
    "HS256", "HS384", "HS512",
]  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def _editable(name: str) -> str:
    fastgate.Request().headers[name] = ""  # ValueError: it is no name, or it frames the message
    return name


def _token(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{name!r} has a character that a name cannot have")
    return name


Name = Annotated[str, Field(min_length=1)]
Quotable = Annotated[str, Field(pattern=r"^[ !#-\[\]-~]*$")]  # in the quotes of a challenge
FieldName = Annotated[str, AfterValidator(_editable)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(BaseModel):
    """A part of the configuration: names in camelCase, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class Source(Part):
    """Where a token may stand: exactly one of these.

    Attributes:
        header: a header field.
        scheme: the word before the token in it, in any case; "" for none. Default "Bearer".
        cookie: a cookie's name.
        query: a parameter of the query.
    """

    header: FieldName | None = None
    scheme: Annotated[str, AfterValidator(_token)] | Literal[""] = "Bearer"
    cookie: Annotated[str, AfterValidator(_token)] | None = None
    query: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(part is not None for part in (self.header, self.cookie, self.query)) != 1:
            raise ValueError("a source is one of header, cookie and query")
        if self.header is None and "scheme" in self.model_fields_set:
            raise ValueError("only a token in a header has a scheme")
        return self


class Keys(Part):
    """Which keys tokens are signed with: exactly one of url, configMap, secret and inline.

    Attributes:
        url: of a JSON Web Key Set (RFC 7517).
        config_map: a key set, or a public key in PEM.
        secret: likewise; for HS256, HS384 and HS512 the secret itself.
        inline: likewise, as text or as the set's own YAML.
        ca_certificates: in PEM; whom to trust at the URL in place of the system's authorities.
        lifetime: seconds that keys of a URL are used before they are fetched again, when its answer has no max-age.
        minimum_lifetime: seconds, whatever the answer says.
        cooldown: least seconds from a fetch to one that a token with an unknown key causes, or after a failed one.
        timeout: seconds that a fetch may take.
    """

    url: HttpUrl | None = None
    config_map: fastgate.ConfigMapRef | None = None
    secret: fastgate.SecretRef | None = None
    inline: str | dict[str, Any] | None = None
    ca_certificates: fastgate.ConfigMapRef | None = None
    lifetime: Annotated[Seconds, Field(ge=1)] = 600
    minimum_lifetime: Annotated[Seconds, Field(ge=1)] = 60
    cooldown: Annotated[Seconds, Field(ge=1)] = 10
    timeout: Annotated[Seconds, Field(gt=0)] = 5

    @model_validator(mode="after")
    def _one(self) -> Keys:
        if sum(part is not None for part in (self.url, self.config_map, self.secret, self.inline)) != 1:
            raise ValueError("keys come from one of url, configMap, secret and inline")
        if self.inline is not None:
            try:
                parse_keys(self.inline)
            except KeysError as e:
                raise ValueError(f"inline: {e}") from None
        return self


class Config(Part):
    """The configuration of a Filter of type JWT.

    Attributes:
        keys: see there.
        issuer: what `iss` has to be, or a list of what it may be. None: anything, also nothing.
        audiences: one of which `aud` has to have. None: anything, also nothing.
        algorithms: that signatures may have. HS256, HS384 and HS512 only without others, and with `keys.secret`.
        leeway: seconds that clocks may differ.
        require: claims that a token has to have.
        scopes: which of its `scope` or `scp` all have to be there, or the answer is 403.
        sources: where the token may stand. A request with tokens in several is refused.
        claims_to_headers: fields that the backend gets, and the claims that they have; `a.b` is b of a. Values are
            percent-encoded but for printable ASCII without "%"; lists are joined by commas.
        forward: let the backend see the token.
        optional: let requests without a token pass. A token that is there has to be valid all the same.
        realm: of the challenge.
    """

    keys: Keys
    issuer: Name | Annotated[list[Name], Field(min_length=1)] | None = None
    audiences: Annotated[list[Name], Field(min_length=1)] | None = None
    algorithms: Annotated[list[Algorithm], Field(min_length=1)] = ["RS256", "ES256", "EdDSA"]
    leeway: Annotated[Seconds, Field(le=600)] = 30
    require: list[Annotated[Quotable, Field(min_length=1)]] = ["exp"]
    scopes: list[Annotated[str, Field(pattern=r"^[!#-\[\]-~]+$")]] = []  # RFC 6749 section 3.3
    sources: Annotated[list[Source], Field(min_length=1)] = [Source(header="authorization")]
    claims_to_headers: dict[FieldName, Name] = {}
    forward: bool = False
    optional: bool = False
    realm: Quotable = "fastgate"

    @model_validator(mode="after")
    def _keys_of_algorithms(self) -> Config:
        symmetric = set(self.algorithms) & SYMMETRIC
        if symmetric and symmetric != set(self.algorithms):
            raise ValueError(
                f"algorithms {', '.join(sorted(symmetric))} need a secret that signs as well as it verifies, and cannot"
                " be mixed with those of public keys"
            )
        if symmetric and self.keys.secret is None:
            raise ValueError("HS256, HS384 and HS512 need keys.secret: who reads the key can sign")
        return self
