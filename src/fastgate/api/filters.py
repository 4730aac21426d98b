"""Filter of fastgate.dev/v1alpha1: a filter written in Python, configured, and what it is attached to."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from fastgate.api.base import FILTER_TYPE, GROUP, Duration, Group, Model, ObjectName, SectionName, fault
from fastgate.api.metadata import Metadata
from fastgate.durations import milliseconds

_SHORTEST, _LONGEST = 1, 60_000  # ms


def _in_reason(value: str) -> str:
    if not _SHORTEST <= milliseconds(value) <= _LONGEST:
        raise fault(f"must be at least 1ms and at most 60s, not {value}")
    return value


class LocalPolicyTargetReference(Model):
    """What a policy of the same namespace applies to: an object, or one listener or rule of it."""

    group: Group
    kind: Literal["Gateway", "ListenerSet", "HTTPRoute"]
    name: ObjectName
    section_name: SectionName | None = None


def _targets(refs: list[LocalPolicyTargetReference]) -> list[LocalPolicyTargetReference]:
    sections: dict[tuple[str, str], list[str]] = {}
    for ref in refs:
        if ref.group != GROUP:
            raise fault(f"a target must be of group {GROUP}, not {ref.group!r}")
        sections.setdefault((ref.kind, ref.name), []).append(ref.section_name or "")
    for (kind, name), names in sections.items():
        if len(set(names)) != len(names):
            raise fault(f"{kind} {name} must be named once only, or once for each sectionName")
        if "" in names and any(names):
            raise fault(f"sectionName must be given with every reference to {kind} {name}, or with none")
    return refs


class FilterSpec(Model):
    """Spec of a Filter. `config` is validated by the filter's own model, which is not known here."""

    type: Annotated[str, Field(min_length=1, max_length=253, pattern=FILTER_TYPE)]
    config: dict[str, JsonValue] = Field(default_factory=dict)
    timeout: Annotated[Duration, AfterValidator(_in_reason)] = "100ms"
    on_error: Literal["Deny", "Skip"] = "Deny"
    execution: Literal["Offloaded", "Inline"] = "Offloaded"
    position: Literal["BeforeRouting", "AfterRouting"] = "AfterRouting"
    target_refs: Annotated[list[LocalPolicyTargetReference], Field(max_length=16), AfterValidator(_targets)] | None = (
        None
    )

    @model_validator(mode="after")
    def _on_listeners(self) -> Self:
        if self.position == "BeforeRouting":
            kinds = {ref.kind for ref in self.target_refs or ()}
            if not kinds or "HTTPRoute" in kinds:
                raise fault(
                    "with position BeforeRouting targetRefs must name Gateways or ListenerSets: no route is known yet"
                )
        return self


class Filter(Model):
    """A filter for the rules that name it by ExtensionRef, and for its targets."""

    api_version: Literal["fastgate.dev/v1alpha1"]
    kind: Literal["Filter"]
    metadata: Metadata
    spec: FilterSpec
