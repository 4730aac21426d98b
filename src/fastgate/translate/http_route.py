"""One HTTPRoute, on its own, as rules and matches: everything about it that no Gateway decides."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastgate.durations import milliseconds
from fastgate.ir import (
    Forward,
    Match,
    PathKind,
    PathMatch,
    Respond,
    Rule,
    ValueKind,
    ValueMatch,
    WeightedBackend,
)
from fastgate.translate import regexes
from fastgate.translate.conditions import Condition, fails, holds
from fastgate.translate.filters import Unsupported, compile_filters
from fastgate.translate.plugins import INVALID, guarded, on_section
from fastgate.translate.precedence import MatchKey, match_key

if TYPE_CHECKING:
    from fastgate.translate.backends import Backends, Resolution
    from fastgate.translate.plugins import Attached, FilterResolution, Plugins

KIND = "HTTPRoute"

_NO_BACKENDS = Respond(500, "no_backends")
_INVALID_BACKEND = Respond(500, "invalid_backend")
_UNSUPPORTED = Respond(500, "unsupported")
_ANY_PATH = PathMatch(PathKind.PREFIX, "")

_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class _DroppedRule(Exception):  # noqa: N818 - a verdict, not a failure of the program
    """A match of a rule cannot be built; the message says which and why."""


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """What an HTTPRoute means.

    `candidates` are (match_key, rule index, match index, match). `faults` says what is wrong with each bad rule, and
    `sound` how many rules are free of faults. `resolved` is the ResolvedRefs condition. `references`, `extensions` and
    `attached` are the resolutions that went into it: of backendRefs, of ExtensionRefs, and of Filters with this route
    as their target. While they and the route stay the same, so does this object.
    """

    candidates: tuple[tuple[MatchKey, int, int, Match], ...]
    hostnames: tuple[str, ...]
    resolved: Condition
    faults: tuple[str, ...]
    sound: int
    references: tuple[tuple[Any, Resolution], ...]
    extensions: tuple[tuple[Any, FilterResolution], ...]
    attached: tuple[Attached, ...]
    clusters: tuple[str, ...]


def normalized_path(value: str) -> str:
    """Return a path as requests are compared: unreserved escapes decoded, the others in upper case (RFC 3986 6.2.2)."""

    def normalize(escape: re.Match[str]) -> str:
        character = chr(int(escape[0][1:], 16))
        return character if character in _UNRESERVED else escape[0].upper()

    return _ESCAPE.sub(normalize, value) if "%" in value else value


def compile_route(route: Any, backends: Backends, plugins: Plugins) -> CompiledRoute:
    """Compile an HTTPRoute. Faults of its rules are data of the result; nothing is raised for them."""
    return _Compiler(route, backends, plugins).compile()


def still_resolved(route: Any, compiled: CompiledRoute, backends: Backends, plugins: Plugins) -> bool:
    """Say whether everything that a compiled route refers to is what it was."""
    namespace = route.metadata.namespace
    return (
        all(backends.resolve(KIND, namespace, ref) == before for ref, before in compiled.references)
        and all(plugins.resolve(namespace, ref) == before for ref, before in compiled.extensions)
        and plugins.attached(KIND, namespace, route.metadata.name) == compiled.attached
    )


class _Compiler:
    def __init__(self, route: Any, backends: Backends, plugins: Plugins) -> None:
        self._route = route
        self._backends = backends
        self._plugins = plugins
        self._generation: int = route.metadata.generation or 0
        self._key = f"{KIND}/{route.metadata.namespace}/{route.metadata.name}"
        self._faults: list[str] = []
        self._references: list[tuple[Any, Resolution]] = []
        self._extensions: list[tuple[Any, FilterResolution]] = []
        self._attached = plugins.attached(KIND, route.metadata.namespace, route.metadata.name)
        self._refusals: dict[str, str] = {}  # of references: message to reason
        self._clusters: dict[str, None] = {}

    def compile(self) -> CompiledRoute:
        candidates: list[tuple[MatchKey, int, int, Match]] = []
        rules = self._route.spec.rules or ()
        sound = 0
        for index, spec in enumerate(rules):
            faults = len(self._faults)
            rule = self._rule(index, spec)
            try:
                matches = self._matches(index, spec.matches, rule)
            except _DroppedRule as verdict:
                self._faults.append(str(verdict))
                continue
            sound += len(self._faults) == faults
            candidates.extend((match_key(match), index, position, match) for position, match in enumerate(matches))
        return CompiledRoute(
            candidates=tuple(candidates),
            hostnames=tuple(dict.fromkeys(name.lower() for name in self._route.spec.hostnames or ())) or ("",),
            resolved=self._resolved(),
            faults=tuple(self._faults),
            sound=sound,
            references=tuple(self._references),
            extensions=tuple(self._extensions),
            attached=self._attached,
            clusters=tuple(self._clusters),
        )

    def _resolved(self) -> Condition:
        if not self._refusals:
            return holds("ResolvedRefs", self._generation, message="every reference is resolved")
        reason = next(iter(self._refusals.values()))
        return fails("ResolvedRefs", self._generation, reason, "; ".join(self._refusals))

    def _rule(self, index: int, spec: Any) -> Rule:
        key = f"{self._key}/{index}"
        name = spec.name or ""
        attached = on_section(self._attached, name)
        extensions = self._resolved_extensions(spec.filters)
        backends, faults = self._weighted(index, spec.backend_refs)
        try:
            if spec.retry is not None:
                faults.append(f"rules[{index}].retry is not supported")
            filters, redirect = compile_filters(spec.filters, f"rules[{index}].filters")
            if redirect is not None and (filters.hostname is not None or filters.path is not None):
                faults.append(f"rules[{index}].filters: URLRewrite and RequestRedirect exclude each other")
        except Unsupported as verdict:
            faults.append(str(verdict))
        if faults:
            self._faults.extend(faults)
            return guarded(Rule(key, self._key, name, _UNSUPPORTED), attached)
        rule = Rule(key, self._key, name, redirect or self._forward(spec, backends), filters)
        rule = guarded(rule, (*attached, *extensions))
        if isinstance(rule.action, Forward):
            clusters = (backend.cluster for backend in rule.action.backends)
            self._clusters.update((cluster, None) for cluster in clusters if cluster is not None)
        return rule

    def _resolved_extensions(self, filters: Any) -> tuple[FilterResolution, ...]:
        """Resolve the ExtensionRefs of a list of filters, in their order."""
        found = []
        for entry in filters or ():
            if entry.type == "ExtensionRef":
                resolution = self._plugins.resolve(self._route.metadata.namespace, entry.extension_ref)
                self._extensions.append((entry.extension_ref, resolution))
                found.append(resolution)
                if resolution.plugin is None:
                    self._refusals.setdefault(resolution.message, resolution.reason)
        return tuple(found)

    @staticmethod
    def _forward(spec: Any, backends: list[WeightedBackend]) -> Forward | Respond:
        chosen = tuple(backend for backend in backends if backend.weight > 0)
        if not chosen:
            return _NO_BACKENDS
        timeouts = spec.timeouts
        if timeouts is None:
            return Forward(chosen)
        return Forward(chosen, milliseconds(timeouts.request), milliseconds(timeouts.backend_request))

    def _weighted(self, index: int, refs: Any) -> tuple[list[WeightedBackend], list[str]]:
        """Return the backends of a rule, and what is not supported about them.

        Every reference is resolved, also of a rule that turns out to be unsupported: ResolvedRefs speaks of all.
        """
        backends: list[WeightedBackend] = []
        faults: list[str] = []
        for position, ref in enumerate(refs or ()):
            where = f"rules[{index}].backendRefs[{position}].filters"
            weight = 1 if ref.weight is None else ref.weight
            resolution = self._backends.resolve(KIND, self._route.metadata.namespace, ref)
            self._references.append((ref, resolution))
            extensions = self._resolved_extensions(ref.filters)
            if resolution.cluster is None:
                if resolution.reason:
                    self._refusals.setdefault(resolution.message, resolution.reason)
                respond = _UNSUPPORTED if resolution.unserved else _INVALID_BACKEND
                backends.append(WeightedBackend(weight, None, respond=respond))
                continue
            try:
                filters, redirect = compile_filters(ref.filters, where)
            except Unsupported as verdict:
                faults.append(str(verdict))
                continue
            if redirect is not None:
                faults.append(f"{where}: RequestRedirect is not supported on a backendRef")
            plugins = tuple(extension.plugin for extension in extensions if extension.plugin is not None)
            if len(plugins) < len(extensions):
                backends.append(WeightedBackend(weight, None, respond=INVALID))
                continue
            backends.append(WeightedBackend(weight, resolution.cluster, replace(filters, plugins=plugins)))
        return backends, faults

    def _matches(self, index: int, specs: Any, rule: Rule) -> list[Match]:
        if not specs:
            return [Match(_ANY_PATH, "", (), (), rule)]
        return [
            Match(
                self._path(spec.path, f"rules[{index}].matches[{position}].path"),
                spec.method or "",
                self._values(spec.headers, f"rules[{index}].matches[{position}].headers", fold=True),
                self._values(spec.query_params, f"rules[{index}].matches[{position}].queryParams", fold=False),
                rule,
            )
            for position, spec in enumerate(specs)
        ]

    @staticmethod
    def _path(path: Any, where: str) -> PathMatch:
        if path is None:
            return _ANY_PATH
        value = "/" if path.value is None else path.value
        match path.type or "PathPrefix":
            case "Exact":
                return PathMatch(PathKind.EXACT, normalized_path(value))
            case "PathPrefix":
                return PathMatch(PathKind.PREFIX, normalized_path(value).rstrip("/"))
            case "RegularExpression":
                _check_pattern(value, where)
                return PathMatch(PathKind.REGEX, value)
            case other:
                raise _DroppedRule(f"{where}: type {other} is not supported")

    @staticmethod
    def _values(specs: Any, where: str, *, fold: bool) -> tuple[ValueMatch, ...]:
        """Return header or query conditions, of which the first for a name counts; names of headers are `fold`ed."""
        values: dict[str, ValueMatch] = {}
        for position, spec in enumerate(specs or ()):
            name = spec.name.lower() if fold else spec.name
            if name in values:
                continue
            match spec.type or "Exact":
                case "Exact":
                    kind = ValueKind.EXACT
                case "RegularExpression":
                    kind = ValueKind.REGEX
                    _check_pattern(spec.value, f"{where}[{position}]")
                case other:
                    raise _DroppedRule(f"{where}[{position}]: type {other} is not supported")
            values[name] = ValueMatch(name, kind, spec.value)
        return tuple(values.values())


def _check_pattern(pattern: str, where: str) -> None:
    refusal = regexes.check(pattern)
    if refusal is not None:
        raise _DroppedRule(f"{where}: regular expression {pattern!r} is not supported: {refusal}")
