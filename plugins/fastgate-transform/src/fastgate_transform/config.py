"""The configuration of the filters; README.md is its reference."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from fastgate_transform.paths import checked_pointer, checked_query

Query = Annotated[str, Field(max_length=1024), AfterValidator(checked_query)]
Pointer = Annotated[str, Field(max_length=1024), AfterValidator(checked_pointer)]
Member = Annotated[str, Field(max_length=256)]
MediaType = Annotated[str, Field(max_length=256, pattern=r"^[a-z0-9*!#$&^_.+-]+/[a-z0-9*!#$&^_.+-]+$")]

# Of a response's body. With a last piece of 64 KiB it is still not more than a gateway takes from a filter at once.
MOST_BYTES = 128 * 1024

JSON_TYPES = ("application/json", "application/*+json")


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True)


class Set(_Model):
    """A value for a place, whose parents are made when they are missing."""

    path: Pointer
    value: JsonValue


class Rename(_Model):
    """Another name for the members that a query finds."""

    path: Query
    to: Member


class PutOperation(_Model):
    """An operation of RFC 6902 with a value."""

    op: Literal["add", "replace", "test"]
    path: Pointer
    value: JsonValue


class RemoveOperation(_Model):
    """The operation of RFC 6902 with neither a value nor another place."""

    op: Literal["remove"]
    path: Pointer


class MoveOperation(_Model):
    """An operation of RFC 6902 from one place to another."""

    op: Literal["move", "copy"]
    from_: Annotated[Pointer, Field(alias="from")]
    path: Pointer


Operation = Annotated[PutOperation | RemoveOperation | MoveOperation, Field(discriminator="op")]


class Step(_Model):
    """One change of a document: exactly one of these."""

    set: Set | None = None
    remove: Query | None = None
    rename: Rename | None = None
    wrap: Member | None = None
    patch: Annotated[list[Operation], Field(min_length=1, max_length=64)] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(change is not None for _, change in self) != 1:
            raise ValueError(f"a step is exactly one of {', '.join(type(self).model_fields)}")
        return self


class _Transformation(_Model):
    steps: Annotated[list[Step], Field(min_length=1, max_length=64)]
    content_types: Annotated[tuple[MediaType, ...], Field(min_length=1, max_length=16)] = JSON_TYPES


class RequestTransformation(_Transformation):
    """What is done to the bodies of requests."""

    other_types: Literal["Pass", "Refuse"] = "Pass"


class ResponseTransformation(_Transformation):
    """What is done to the bodies of responses."""

    max_bytes: Annotated[int, Field(ge=1, le=MOST_BYTES)] = MOST_BYTES
    on_invalid: Literal["Fail", "Pass"] = "Fail"


class JSONTransformConfig(_Model):
    """What is done to the bodies of requests, of responses, or of both."""

    request: RequestTransformation | None = None
    response: ResponseTransformation | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.request is None:
            if self.response is None:
                raise ValueError("request or response must say what is done")
            raise ValueError("without request, use JSONResponseTransform: it does not wait for bodies of requests")
        return self


class JSONResponseTransformConfig(ResponseTransformation):
    """What is done to the bodies of responses."""
