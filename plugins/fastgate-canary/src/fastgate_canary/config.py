"""The configuration of a Canary; README.md is its reference."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from fastgate_canary.places import checked_place

_NAME = r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
_VISIBLE = r"^[!-~]+( [!-~]+)*$"

Token = Annotated[str, Field(min_length=1, max_length=256, pattern=_NAME)]
Value = Annotated[str, Field(max_length=256, pattern=_VISIBLE)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class Cookie(_Model):
    """The cookie that names a user, given to those who have none (RFC 6265).

    Attributes:
        secure: None: when the request came by https.
        max_age: seconds; 0: until the browser is closed.
    """

    name: Token = "fastgate_canary"
    path: Annotated[str, Field(pattern=r"^/[!-:<-~]*$")] = "/"
    domain: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")] | None = None
    max_age: Annotated[int, Field(ge=0, le=400 * 86_400)] = 30 * 86_400
    secure: bool | None = None
    http_only: bool = True
    same_site: Literal["Strict", "Lax", "None"] = "Lax"

    @model_validator(mode="after")
    def _browsers_keep_it(self) -> Self:
        if self.same_site == "None" and not self.secure:
            raise ValueError("sameSite None needs secure: true, or browsers drop the cookie")
        if self.name.startswith(("__Secure-", "__Host-")) and not self.secure:
            raise ValueError(f"the name {self.name} needs secure: true, or browsers drop the cookie")
        if self.name.startswith("__Host-") and (self.domain is not None or self.path != "/"):
            raise ValueError(f"the name {self.name} needs path / and no domain, or browsers drop the cookie")
        return self


class Override(_Model):
    """A request field by which testers choose for themselves."""

    header: Token
    canary: Value = "always"
    stable: Value = "never"


class Forward(_Model):
    """A request field that tells the backend what was decided, whatever the client said in it."""

    header: Token
    canary: Value = "canary"
    stable: Value = "stable"


class CanaryConfig(_Model):
    """Who gets the canary, and how they get there."""

    percentage: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
    salt: Annotated[str, Field(max_length=256)] = ""
    header: Token | None = None
    cookie: Cookie | None = None
    override: Override | None = None
    forward: Forward | None = None
    endpoints: tuple[Annotated[str, AfterValidator(checked_place)], ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.header is None and self.cookie is None:
            raise ValueError("header, cookie or both must say how a user is known again")
        if self.forward is None and not self.endpoints:
            raise ValueError("forward, endpoints or both must say what is done with the decision")
        if self.forward is not None:
            taken = {self.header, self.override.header if self.override else None}
            if self.forward.header.lower() in {name.lower() for name in taken if name is not None}:
                raise ValueError(f"forward.header {self.forward.header} would overwrite a field that decides")
        return self
