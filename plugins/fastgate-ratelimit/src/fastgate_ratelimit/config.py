"""What can be configured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

import fastgate
from fastgate_ratelimit.bucket import SECOND, Rate
from fastgate_ratelimit.key import Template


def _no_credentials(url: str) -> str:
    if "@" in url:
        raise ValueError("a URL with a password belongs in a Secret: let it be {name, key}")
    return url


def _template(text: str) -> str:
    Template(text)
    return text


class Part(BaseModel):
    """A part of the configuration: names in camelCase, nothing unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True)


class LocalStore(Part):
    """Buckets in memory that the plugin processes of one host share.

    Attributes:
        size: buckets; of more keys, those whose buckets are fullest are forgotten.
        name: Filters of the same name, limits and size share their memory.
        directory: where it is a file; None: one of the user's own in /dev/shm.
    """

    type: Literal["local"] = "local"
    size: Annotated[int, Field(ge=8, le=1 << 24)] = 65_536
    name: Annotated[str, Field(max_length=253)] = ""
    directory: Annotated[str, Field(pattern=r"^/")] | None = None


class RedisStore(Part):
    """Buckets in a server that speaks Redis's protocol.

    Attributes:
        url: redis://, rediss:// or unix://.
        prefix: of the names of keys.
        timeout: seconds for one answer.
        connections: of each plugin process.
    """

    type: Literal["redis"]
    url: Annotated[str, Field(pattern="^(redis|rediss|unix)://"), AfterValidator(_no_credentials)] | fastgate.SecretRef
    prefix: Annotated[str, Field(max_length=253)] = "fastgate"
    timeout: Annotated[float, Field(gt=0, le=10)] = 0.02
    connections: Annotated[int, Field(ge=1, le=1000)] = 16


class Config(Part):
    """The configuration of a Filter of type RateLimit.

    Attributes:
        requests: tokens that come within `per`.
        per: seconds.
        burst: tokens that a bucket holds; None: as many as `requests`.
        key: what has a bucket of its own; see `Template`.
        ipv4_prefix: bits of a client's address that count.
        ipv6_prefix: likewise; one customer commonly has 2^64 addresses.
        store: where buckets are.
        on_failure: what happens to requests while the store does not answer.
        name: of the limit, in the fields of responses.
        headers: say in every response what is left.
    """

    requests: Annotated[int, Field(ge=1, le=1_000_000_000)]
    per: Annotated[float, Field(gt=0, le=31 * 86_400)] = 1
    burst: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    key: Annotated[str, Field(min_length=1), AfterValidator(_template)] = "{client}"
    ipv4_prefix: Annotated[int, Field(ge=1, le=32)] = 32
    ipv6_prefix: Annotated[int, Field(ge=1, le=128)] = 64
    store: Annotated[LocalStore | RedisStore, Field(discriminator="type")] = LocalStore()
    on_failure: Literal["Allow", "Deny"] = "Allow"
    name: Annotated[str, Field(pattern=r"^[ !#-\[\]-~]+$")] = "default"
    headers: bool = True

    @model_validator(mode="after")
    def _possible(self) -> Config:
        if self.requests / self.per > 1_000_000:  # noqa: PLR2004 - a microsecond each
            raise ValueError("more than 1,000,000 requests a second cannot be counted")
        if self.rate.capacity > 366 * 86_400 * SECOND:
            raise ValueError("a bucket of this burst would take more than a year to fill")
        return self

    @property
    def rate(self) -> Rate:
        """The bucket that all this describes."""
        return Rate(round(self.per * SECOND / self.requests), self.burst or self.requests)
