"""What the kinds of routes share (apis/v1/shared_types.go): parents, backends and their rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from fastgate.api.base import GROUP, Group, Kind, Model, Namespace, ObjectName, PortNumber, SectionName, fault

if TYPE_CHECKING:
    from collections.abc import Iterable


class ParentReference(Model):
    """Where a route attaches."""

    group: Group = GROUP
    kind: Kind = "Gateway"
    namespace: Namespace | None = None
    name: ObjectName
    section_name: SectionName | None = None
    port: PortNumber | None = None


ParentReferences = Annotated[list[ParentReference], Field(max_length=32)]


class BackendObjectReference(Model):
    """A backend, wherever it is named."""

    group: Group = ""
    kind: Kind = "Service"
    name: ObjectName
    namespace: Namespace | None = None
    port: PortNumber | None = None

    @model_validator(mode="after")
    def _services_have_ports(self) -> Self:
        if self.group == "" and self.kind == "Service" and self.port is None:
            raise fault("Must have port for Service reference")
        return self


class BackendRef(BackendObjectReference):
    """A backend with its share."""

    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1


def check_parent_refs(refs: list[ParentReference]) -> None:
    """Raise when references to one parent are not told apart by sectionName."""
    sections: dict[tuple[str, str, str, str], list[str]] = {}
    for ref in refs:
        sections.setdefault((ref.group, ref.kind, ref.namespace or "", ref.name), []).append(ref.section_name or "")
    _check_sections(sections.values(), "parentRefs", "parent")


def check_target_refs(targets: Iterable[tuple[tuple[str, str, str], str | None]]) -> None:
    """Raise when references of a policy to one target are not told apart by sectionName: (target, sectionName)."""
    sections: dict[tuple[str, str, str], list[str]] = {}
    for target, section in targets:
        sections.setdefault(target, []).append(section or "")
    _check_sections(sections.values(), "targetRefs", "target")


def _check_sections(sections: Iterable[list[str]], field: str, what: str) -> None:
    for names in sections:
        where = f"when {field} includes 2 or more references to the same {what}"
        if "" in names and any(names):
            raise fault(f"sectionName must be specified {where}")
        if len(set(names)) != len(names):
            raise fault(f"sectionName must be unique {where}")


def check_rule_names(names: Iterable[str | None]) -> None:
    """Raise when two rules of a route have one name."""
    given = [name for name in names if name is not None]
    if len(set(given)) != len(given):
        raise fault("Rule name must be unique within the route")
