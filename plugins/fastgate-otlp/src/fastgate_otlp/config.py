"""The configuration of OTLPLogs; README.md is its reference."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, model_validator
from pydantic.alias_generators import to_camel

import fastgate

_SECRET = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))
_OURS = frozenset(("content-encoding", "content-length", "content-type", "host", "transfer-encoding"))


def _without_credentials(url: HttpUrl) -> HttpUrl:
    if url.username is not None or url.password is not None:
        raise ValueError("credentials do not belong in a URL: send them in a field of headers, from a Secret")
    return url


def _may_be_logged(name: str) -> str:
    if name.lower() in _SECRET:
        raise ValueError(f"{name} has secrets, which do not belong in logs")
    return name.lower()


def _may_be_sent(name: str) -> str:
    if name.lower() in _OURS:
        raise ValueError(f"{name} is written by the exporter")
    return name.lower()


Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")]
Value = Annotated[str, Field(max_length=4096, pattern=r"^[ -~]*$")]
Seconds = Annotated[float, Field(ge=0.001, le=3600, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class Batch(_Model):
    """How records are collected.

    Attributes:
        max_records: of one export.
        max_queue: that wait; further ones are dropped.
        interval_seconds: the longest that a record waits for others.
    """

    max_records: Annotated[int, Field(ge=1, le=10_000)] = 512
    max_queue: Annotated[int, Field(ge=1, le=100_000)] = 4096
    interval_seconds: Seconds = 1.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.max_records > self.max_queue:
            raise ValueError("maxRecords is at most maxQueue")
        return self


class Retry(_Model):
    """How long exports are tried again, with exponential back-off."""

    initial_seconds: Seconds = 1.0
    max_seconds: Seconds = 30.0
    give_up_seconds: Seconds = 120.0


class OTLPLogsConfig(_Model):
    """Where records go, and what is in them."""

    endpoint: Annotated[HttpUrl, AfterValidator(_without_credentials)]
    headers: dict[Annotated[Name, AfterValidator(_may_be_sent)], fastgate.SecretRef | Value] = Field(
        default_factory=dict
    )
    ca: fastgate.ConfigMapRef | None = None
    compression: Literal["gzip", "none"] = "gzip"
    timeout_seconds: Seconds = 10.0
    resource: dict[str, str | bool | int | float] = Field(default_factory=dict)
    request_headers: tuple[Annotated[Name, AfterValidator(_may_be_logged)], ...] = ()
    response_headers: tuple[Annotated[Name, AfterValidator(_may_be_logged)], ...] = ()
    query: Literal["Record", "Omit"] = "Record"
    redacted_parameters: tuple[str, ...] = ("AWSAccessKeyId", "Signature", "sig", "X-Goog-Signature")
    batch: Batch = Batch()
    retry: Retry = Retry()
