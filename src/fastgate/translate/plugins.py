"""Filter resources as `ir.Plugin`: for the rules that name them by ExtensionRef, and for their targets.

A Filter that cannot be used is a status of its own, and everything that it should have guarded answers 500.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastgate.ir import Filters, Plugin, Respond, Rule
from fastgate.translate.configured import ConfiguredFilter, configure, resolved
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.plugins.discovery import Catalog
    from fastgate.store import Store
    from fastgate.translate.configured import Refusal
    from fastgate.translate.grants import Grants
    from fastgate.translate.listeners import Attachable

GROUP = "fastgate.dev"
KIND = "Filter"
INVALID = Respond(500, "invalid_filter")


@dataclass(frozen=True, slots=True)
class FilterResolution:
    """What a reference to a Filter stands for: a plugin, or why there is none, as ResolvedRefs says it."""

    plugin: Plugin | None
    reason: str = ""
    message: str = ""
    before_routing: bool = False


@dataclass(frozen=True, slots=True)
class Attached:
    """A Filter on one of its targets. `section` names a listener or a rule of the target; "" is all of it."""

    section: str
    resolution: FilterResolution


@dataclass(frozen=True, slots=True)
class FoundFilter:
    """A Filter of the store, and why it is not accepted."""

    source: Any
    plugin: Plugin | None
    refusal: Refusal | None


class Plugins:
    """The Filters of a store, each resolved once, by name and by target."""

    def __init__(self, catalog: Catalog) -> None:
        """Know no Filters yet."""
        self._catalog = catalog
        self._configured: dict[int, ConfiguredFilter] = {}  # by id of the source, which the value keeps alive
        self._attached: dict[tuple[str, str, str], list[Attached]] = {}  # by kind, namespace, name of the target
        self.filters: dict[tuple[str, str], FoundFilter] = {}  # by (namespace, name)

    def update(self, store: Store, grants: Grants) -> None:
        """Resolve the Filters of a store; those that are the same objects as before are not validated again."""
        known, self._configured = self._configured, {}
        self.filters = {}
        self._attached = defaultdict(list)
        for source in sorted(store.list(KIND), key=_age):
            configured = known.get(id(source)) or configure(source, self._catalog)
            self._configured[id(source)] = configured
            plugin, refusal = resolved(configured, store, grants)
            metadata = source.metadata
            self.filters[metadata.namespace, metadata.name] = FoundFilter(source, plugin, refusal)
            for ref in source.spec.target_refs or ():
                self._attached[ref.kind, metadata.namespace, ref.name].append(
                    Attached(ref.section_name or "", self._named(metadata.namespace, metadata.name))
                )

    def resolve(self, namespace: str, ref: Any) -> FilterResolution:
        """Resolve the extensionRef of a route of `namespace`."""
        if ref is None:
            return FilterResolution(None, "InvalidKind", "an ExtensionRef that refers to nothing")
        if (ref.group, ref.kind) != (GROUP, KIND):
            return FilterResolution(None, "InvalidKind", f"{ref.group or 'core'}/{ref.kind} is not a kind of filter")
        found = self._named(namespace, ref.name)
        if found.before_routing:
            message = (
                f"{KIND} {namespace}/{ref.name} has position BeforeRouting: it is for its targetRefs, not for rules"
            )
            return FilterResolution(None, f"{GROUP}/InvalidFilter", message)
        return found

    def attached(self, kind: str, namespace: str, name: str) -> tuple[Attached, ...]:
        """Return the Filters whose target is an object or a section of it: those of the whole first, then by age."""
        found = self._attached.get((kind, namespace, name), ())
        return tuple(sorted(found, key=lambda one: bool(one.section)))

    def of_listener(self, listener: Attachable) -> tuple[FilterResolution, ...]:
        """Return what all rules of a listener pass: its Gateway's Filters, its ListenerSet's, then its own."""
        found = self.attached("Gateway", *listener.gateway)
        if listener.owner == "Gateway":
            return on_section(found, listener.name)
        own = self.attached("ListenerSet", listener.namespace, listener.owner_name)
        return (*on_section(found, ""), *on_section(own, listener.name))

    def _named(self, namespace: str, name: str) -> FilterResolution:
        found = self.filters.get((namespace, name))
        if found is None:
            return FilterResolution(None, "BackendNotFound", f"{KIND} {namespace}/{name} does not exist")
        if found.refusal is not None:
            message = f"{KIND} {namespace}/{name} is not accepted: {found.refusal.message}"
            return FilterResolution(None, f"{GROUP}/InvalidFilter", message)
        return FilterResolution(found.plugin, before_routing=found.source.spec.position == "BeforeRouting")


def on_section(attached: Iterable[Attached], section: str) -> tuple[FilterResolution, ...]:
    """Return what applies to a section: what is attached to the whole, and to it."""
    return tuple(one.resolution for one in attached if one.section in ("", section))


def split(resolutions: tuple[FilterResolution, ...]) -> tuple[tuple[Plugin, ...], tuple[FilterResolution, ...]]:
    """Return what a listener's requests meet before a route is looked for, and what the rules of its routes are behind.

    One that cannot be used is among the latter, whatever its position: no rule is served without it.
    """
    before = tuple(one.plugin for one in resolutions if one.before_routing and one.plugin is not None)
    return before, tuple(one for one in resolutions if not one.before_routing)


def guarded(rule: Rule, resolutions: tuple[FilterResolution, ...]) -> Rule:
    """Return a rule whose requests meet these filters before its own. One that cannot be used leaves a 500 only."""
    if not resolutions:
        return rule
    plugins = [resolution.plugin for resolution in resolutions if resolution.plugin is not None]
    if len(plugins) < len(resolutions):
        return replace(rule, action=INVALID, filters=Filters())
    return replace(rule, filters=replace(rule.filters, plugins=(*plugins, *rule.filters.plugins)))


def _age(source: Any) -> tuple[str, str, str]:
    metadata = source.metadata
    return age(metadata.creation_timestamp, metadata.namespace, metadata.name)
