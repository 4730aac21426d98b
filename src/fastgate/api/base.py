"""What all models share: their configuration, the string types of Gateway API v1.7.0, and how a fault is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from fastgate import durations

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

GROUP = "gateway.networking.k8s.io"


class Model(BaseModel):
    """A part of a resource: immutable, no unknown fields, no conversions between types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, validate_default=False, defer_build=True
    )


class Core(BaseModel):
    """A part of a core resource, of which only some fields are read."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, alias_generator=to_camel, defer_build=True)


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the path of the field, as the document spells it, and a sentence."""

    path: tuple[str | int, ...]
    message: str


class Invalid(Exception):  # noqa: N818 - the API server's own word
    """A document is not a valid resource."""

    def __init__(self, problems: list[Problem]) -> None:
        """Keep all problems."""
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class UnknownKind(Exception):  # noqa: N818 - it is no fault of the document
    """A document is of a kind that is not read here."""


def fault(message: str) -> PydanticCustomError:
    """Return what a validator raises."""
    return PydanticCustomError("fastgate", "{message}", {"message": message})


# The API's string types (apis/v1/shared_types.go); `$` of the CRDs' patterns is the end of the text.
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

Group = Annotated[str, Field(max_length=253, pattern=rf"^$|^{_SUBDOMAIN}$")]
Kind = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
SectionName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}$")]
PreciseHostname = SectionName
Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^(\*\.)?{_SUBDOMAIN}$")]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")]
HeaderValue = Annotated[str, Field(min_length=1, max_length=4096)]
Duration = Annotated[str, Field(pattern=durations.PATTERN)]
FILTER_TYPE = r"^([A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?/)?[A-Za-z0-9._]([-A-Za-z0-9._]*[A-Za-z0-9._])?$"

# What the patterns mean to who broke them.
FORMS = {
    rf"^$|^{_SUBDOMAIN}$": "empty or a DNS name in lower case",
    r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$": "a kind: letters, digits and '-', with a letter first",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "a DNS label: lower-case letters, digits and '-' inside",
    rf"^{_SUBDOMAIN}$": "a DNS name in lower case",
    rf"^(\*\.)?{_SUBDOMAIN}$": "a DNS name in lower case, or '*.' and such a name",
    r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$": "a token of letters, digits and !#$%&'*+-.^_`|~",
    FILTER_TYPE: "the name of a filter, or 'distribution/Name'",
    durations.PATTERN: "a duration of whole numbers with units, such as 1h30m, 10s or 250ms",
    r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?": "a URI with a scheme and an authority",
    rf"^(System|({_SUBDOMAIN}/([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]))$": "System, or a name with a prefix",
    r"^/[!-~]*$": "a path that starts with '/', in visible ASCII",
}

T = TypeVar("T")


def _unique(key: Callable[[Any], Hashable], what: str) -> Callable[[list[T]], list[T]]:
    def check(items: list[T]) -> list[T]:
        seen = set()
        for item in items:
            value = key(item)
            if value in seen:
                raise fault(f"duplicate {what} {value!r}")
            seen.add(value)
        return items

    return check


def map_by(name: str) -> AfterValidator:
    """Return the validator of a list whose items are told apart by one field (x-kubernetes-list-type: map)."""
    return AfterValidator(_unique(lambda item: getattr(item, name), name))


SET = AfterValidator(_unique(lambda item: item, "value"))  # x-kubernetes-list-type: set


class LabelSelectorRequirement(Model):
    """One expression of a label selector."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Model):
    """A metav1.LabelSelector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[LabelSelectorRequirement] | None = None
