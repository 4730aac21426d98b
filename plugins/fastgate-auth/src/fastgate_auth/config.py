"""What can be configured."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

import fastgate

_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"


def _editable(name: str) -> str:
    fastgate.Request().headers[name] = ""  # ValueError: it is no name, or it frames the message
    return name


FieldName = Annotated[str, AfterValidator(_editable)]
Quotable = Annotated[str, Field(pattern=r"^[ !#-\[\]-~]*$")]  # in the quotes of a challenge


class Part(BaseModel):
    """A part of the configuration: names in camelCase, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class Source(Part):
    """Where a key may stand: exactly one of these.

    Attributes:
        header: a header field.
        cookie: a cookie's name.
        query: a parameter of the query.
    """

    header: FieldName | None = None
    cookie: Annotated[str, Field(pattern=_NAME)] | None = None
    query: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(part is not None for part in (self.header, self.cookie, self.query)) != 1:
            raise ValueError("a source is one of header, cookie and query")
        return self


class _Common(Part):
    """What both filters have.

    Attributes:
        identity_header: that tells the backend who it is. What clients send in it is removed.
        realm: of the challenge.
        forward: let the backend see the credentials.
    """

    identity_header: FieldName | None = None
    realm: Quotable = "fastgate"
    forward: bool = False


class APIKeyConfig(_Common):
    """The configuration of a Filter of type APIKey.

    Attributes:
        keys: lines `name:SHA-256 of the key in hexadecimal`; a name may have several.
        sources: where the key may stand. A request with keys in several is refused.
    """

    keys: fastgate.SecretRef
    sources: Annotated[list[Source], Field(min_length=1)] = [Source(header="x-api-key")]


class BasicAuthConfig(_Common):
    """The configuration of a Filter of type BasicAuth.

    Attributes:
        users: lines `name:hash` as htpasswd writes them, of bcrypt or Argon2.
        threads: that compute hashes at the same time.
        queue: requests that may wait for them; more are answered with 503.
        remember: seconds that credentials which were right are not computed again.
    """

    users: fastgate.SecretRef
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    queue: Annotated[int, Field(ge=0, le=10_000)] = 64
    remember: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 300
