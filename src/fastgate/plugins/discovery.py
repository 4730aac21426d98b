"""Filters that are installed: entry points of group `fastgate.filters`, imported when a configuration uses them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from fastgate.plugins import values
from fastgate.plugins.distributions import ImportFailure, Installed, installed, normal, said
from fastgate.plugins.filter import Filter
from fastgate.plugins.version import unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP = "fastgate.filters"
MOST = 20  # filters that a message lists

Class: TypeAlias = "type[Filter[Any]]"
Model: TypeAlias = "type[BaseModel]"


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Why a Filter cannot be used.

    Attributes:
        reason: of its condition Accepted: "InvalidType".
        message: a sentence without its final period.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FilterType:
    """A filter that can be used.

    Attributes:
        type: as Filters name it: "Stamp" or "distribution/Stamp".
        cls: its class.
        config_model: the model of its configuration.
        phases: values of `Phase`.
        buffer_body: bytes; 0: the body is not buffered.
    """

    type: str
    cls: Class
    config_model: Model
    phases: frozenset[str]
    buffer_body: int

    def validated(self, config: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the canonical form of a configuration: plain JSON values, with defaults.

        Raises:
            pydantic.ValidationError: something is wrong with it. A field that the model does not have is, too, unless
                the model says what it does with such.
        """
        model = self.config_model
        extra: Literal["forbid"] | None = None if "extra" in model.model_config else "forbid"
        found = model.model_validate(dict(config or {}), extra=extra)
        try:
            return values.canonical(found)
        except PydanticCustomError as e:
            raise ValidationError.from_exception_data(model.__name__, [{"type": e, "input": None}]) from None

    def references(self, config: dict[str, Any]) -> list[tuple[values.Path, values.Ref]]:
        """Return the references to Secrets and ConfigMaps in a canonical configuration."""
        return values.references(self.config_model, config)

    def instance(self, config: dict[str, Any]) -> Filter[Any]:
        """Return a filter with a canonical configuration."""
        return self.cls(values.load(self.config_model, config))


class Catalog:
    """All filters that there are: the installed ones, and classes that are given.

    What is installed is looked up once. A distribution is imported when one of its filters is first asked for, all of
    them together, and when that fails none can be used: so nothing depends on the order in which they are asked for.
    Not thread-safe.
    """

    def __init__(self, filters: Mapping[str, type[Filter[Any]]] | None = None, *, installed: bool = True) -> None:
        """Offer these classes, and what is installed where no class has the name."""
        self._given: dict[str, FilterType] = {}
        for name, cls in (filters or {}).items():
            found = _checked(name, cls)
            if isinstance(found, PluginProblem):
                raise TypeError(found.message)
            self._given[name] = found
        self._look = installed
        self._points: dict[str, list[Installed]] | None = None  # by name
        self._loaded: dict[str, dict[str, FilterType | PluginProblem]] = {}  # by distribution, by name

    def installed(self) -> list[Installed]:
        """Return every entry point, sorted. Nothing is imported."""
        found = [one for points in self._by_name().values() for one in points]
        return sorted(found, key=lambda one: (one.name, one.distribution))

    def names(self) -> list[str]:
        """Return the names of all filters, sorted; duplicates as `distribution/name`."""
        names = set(self._given)
        for name, points in self._by_name().items():
            names |= {name} if len(points) == 1 else {f"{one.distribution}/{name}" for one in points}
        return sorted(names)

    def used(self) -> list[str]:
        """Return the installed filters that were asked for and can be used, with their distributions."""
        return [
            f"{distribution}/{name}"
            for distribution, filters in sorted(self._loaded.items())
            for name, found in sorted(filters.items())
            if isinstance(found, FilterType)
        ]

    def check(self, type: str, config: Mapping[str, Any] | None = None) -> FilterType | PluginProblem:  # noqa: A002
        """Return the filter of a `spec.type`, or why there is none for it.

        A configuration is tried, so that a model that fails in a way of its own is a problem here; what is wrong with
        the configuration is for `FilterType.validated` to say.
        """
        found = self._find(type)
        if isinstance(found, FilterType):
            try:
                found.references(found.validated(config))
            except ValidationError:
                pass
            except Exception as e:  # noqa: BLE001 - the author's validators
                return PluginProblem("InvalidType", f"the configuration model of {type} failed: {said(e)}")
        return found

    def _find(self, name: str) -> FilterType | PluginProblem:
        if name in self._given:
            return self._given[name]
        distribution, slash, short = name.rpartition("/")
        points = self._by_name().get(short, [])
        if slash:
            points = [one for one in points if one.distribution == normal(distribution)]
        if not points:
            near = get_close_matches(name, self.names(), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            return PluginProblem("InvalidType", f"no filter of type {name} is installed, {self._offer()}{meant}")
        if len(points) > 1:
            choices = " and ".join(one.distribution for one in points)
            ways = " or ".join(f"{one.distribution}/{short}" for one in points)
            return PluginProblem("InvalidType", f"{choices} both have a filter {short}: say {ways}")
        return self._load(points[0].distribution)[short]

    def _offer(self) -> str:
        """What is installed, in words."""
        names = [*sorted(self._given), *(f"{one.name} ({one.distribution})" for one in self.installed())]
        more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
        return f"only {', '.join(names[:MOST])}{more}" if names else "nor any other"

    def _by_name(self) -> dict[str, list[Installed]]:
        if self._points is None:
            self._points = {}
            for point in installed(GROUP) if self._look else ():
                self._points.setdefault(point.name, []).append(point)
        return self._points

    def _load(self, distribution: str) -> dict[str, FilterType | PluginProblem]:
        """The filters of a distribution, or for each of them what is wrong with it."""
        if distribution not in self._loaded:
            points = [one for one in self.installed() if one.distribution == distribution]
            try:
                classes = {one.name: one.load() for one in points}
            except ImportFailure as e:
                problem = PluginProblem("InvalidType", f"distribution {distribution} is disabled: {e}")
                self._loaded[distribution] = {one.name: problem for one in points}
            else:
                self._loaded[distribution] = {name: _checked(name, cls) for name, cls in classes.items()}
        return self._loaded[distribution]


def _checked(name: str, cls: Any) -> FilterType | PluginProblem:
    if not isinstance(cls, type) or not issubclass(cls, Filter):
        said = f"{name} is a {type(cls).__name__}" if not isinstance(cls, type) else f"{name} is {cls.__name__}"
        return PluginProblem("InvalidType", f"{said}, not a class derived from fastgate.Filter")
    declared = getattr(sys.modules[cls.__module__], "fastgate_api", cls.fastgate_api)
    for version in (cls.fastgate_api, declared):
        if (why := unsupported(version)) is not None:
            return PluginProblem("InvalidType", f"{name} cannot run here: {why}")
    if not cls.phases():
        return PluginProblem("InvalidType", f"{name} overrides no phase and would never be called")
    try:
        model = cls.config_model()
    except TypeError as e:
        return PluginProblem("InvalidType", str(e))
    return FilterType(name, cls, model, frozenset(phase.value for phase in cls.phases()), cls.buffer_body)
