"""Pluggy modules of entry-point group `fastgate`: found, checked, and called one by one."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import pluggy

from fastgate.plugins import hookspecs
from fastgate.plugins.distributions import ImportFailure, installed, said
from fastgate.plugins.kinds import fault
from fastgate.problems import Problem, Severity
from fastgate.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastgate.api import Kinds
    from fastgate.api.metadata import Resource
    from fastgate.ir import Ir

GROUP = "fastgate"
SPECIFIED = tuple(name for name in vars(hookspecs) if name.startswith("fastgate_"))

log = logging.getLogger("fastgate")


class AmendError(Exception):
    """A configuration was amended in a way that cannot be served."""


@dataclass(frozen=True, slots=True)
class Hooked:
    """A plugin that is used.

    Attributes:
        name: its distribution, or as it was given.
        hooks: that it implements.
    """

    name: str
    hooks: tuple[str, ...]


class Hooks:
    """Plugins of the process. One that cannot be imported, or implements what there is not, is left out as a whole.

    Attributes:
        problems: what is wrong with plugins.
        plugins: those that are used.
        kinds: of resources that they have.
    """

    def __init__(self, plugins: Mapping[str, object] | None = None, *, look: bool = True) -> None:
        """Use these modules or objects, by name, and those that are installed when `look` says so."""
        self._manager = _manager()
        self.problems: list[Problem] = []
        self.plugins: list[Hooked] = []
        found: dict[str, list[object]] = {name: [plugin] for name, plugin in (plugins or {}).items()}
        for point in installed(GROUP) if look else ():
            of_distribution = found.setdefault(point.distribution, [])
            try:
                of_distribution.append(point.load())
            except ImportFailure as e:
                of_distribution.append(e)
        for name, parts in sorted(found.items(), reverse=True):  # the last that is registered is called first
            why = next(filter(None, map(_fault, parts)), None)
            if why is not None:
                self._say(name, f"distribution {name} is disabled: {why}")
                continue
            for part in dict.fromkeys(parts):
                self._take(name, part)
        self.kinds = self._kinds()

    def has(self, hook: str) -> bool:
        """Return whether any plugin implements a hook."""
        return any(hook in plugin.hooks for plugin in self.plugins)

    def collect(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """Call a hook that returns an iterable: each item with its plugin's name. One that raises is logged."""
        items = []
        for name, caller in self._callers(hook):
            try:
                items += [(name, item) for item in caller(**arguments) or ()]
            except Exception:
                log.exception("%s of %s failed", hook, name)
        return items

    async def call_and_wait(self, hook: str, **arguments: Any) -> None:
        """Call a hook of each plugin, one after the other, and wait for those that are coroutines."""
        for name, caller in self._callers(hook):
            try:
                result = caller(**arguments)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                log.exception("%s of %s failed", hook, name)

    def amend(self, ir: Ir, resources: Store = Store()) -> Ir:  # noqa: B008 - immutable
        """Return what the plugins make of the configuration of these resources, one after the other.

        Raises:
            AmendError: one failed, is not pure, or returned what no configuration is.
        """
        for name, caller in self._callers("fastgate_amend_ir"):
            try:
                first, second = (caller(ir=ir, resources=resources) for _ in range(2))
            except Exception as e:
                raise AmendError(f"fastgate_amend_ir of {name} failed: {said(e)}") from e
            if first != second:
                raise AmendError(f"fastgate_amend_ir of {name} is not pure: it returned two different configurations")
            if first is None:
                continue
            if not isinstance(first, type(ir)):
                raise AmendError(f"fastgate_amend_ir of {name} returned a {type(first).__name__}, not an Ir")
            if added := {cluster.key for cluster in first.clusters} - {cluster.key for cluster in ir.clusters}:
                raise AmendError(f"fastgate_amend_ir of {name} added clusters: {', '.join(sorted(added))}")
            ir = first
        return ir

    def _kinds(self) -> Kinds:
        """The kinds of all plugins. Of one that cannot be used, its plugin is told."""
        kinds: dict[tuple[str, str], type[Resource]] = {}
        for name, caller in self._callers("fastgate_resource_kinds"):
            try:
                found = dict(caller() or {})
            except Exception as e:  # noqa: BLE001 - the author's code
                self._say(name, f"fastgate_resource_kinds of {name} failed: {said(e)}")
                continue
            for key, model in found.items():
                why = fault(key, model, kinds)
                if why is None:
                    kinds[key] = model
                else:
                    self._say(name, f"a kind of {name} is left out: {why}")
        return kinds

    def _callers(self, hook: str) -> Iterator[tuple[str, Any]]:
        """Each plugin's part of a hook, in pluggy's order."""
        implementations = getattr(self._manager.hook, hook).get_hookimpls()
        plugins = [implementation.plugin for implementation in reversed(implementations)]
        for plugin in plugins:
            name = self._manager.get_name(plugin) or ""
            others = [other for other in self._manager.get_plugins() if other is not plugin]
            yield name.partition(":")[0], self._manager.subset_hook_caller(hook, others)

    def _take(self, name: str, plugin: object) -> None:
        count = sum(hooked.name == name for hooked in self.plugins)
        self._manager.register(plugin, f"{name}:{count}")
        hooks = tuple(sorted(hook for hook in _marked(plugin) if hook in SPECIFIED))
        self.plugins.append(Hooked(name, hooks))

    def _say(self, name: str, message: str) -> None:
        self.problems.append(Problem(message, object=f"plugin {name}", severity=Severity.WARNING))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _marked(plugin: object) -> dict[str, dict[str, Any]]:
    """What a plugin marks with `hookimpl`: the options by the hook's name."""
    found = {}
    for name in dir(plugin):
        options = getattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl", None)
        if isinstance(options, dict):
            found[options.get("specname") or name] = options
    return found


def _fault(plugin: object) -> str | None:
    """What keeps a plugin from being used."""
    if isinstance(plugin, ImportFailure):
        return str(plugin)
    marked = _marked(plugin)
    for name, options in marked.items():
        if name not in SPECIFIED and not options.get("optionalhook"):
            near = get_close_matches(name, SPECIFIED, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            return f"there is no hook {name}{meant} (hookimpl(optionalhook=True) marks one that need not exist)"
    for name in SPECIFIED:
        value = getattr(plugin, name, None)
        if callable(value) and name not in marked:
            return f"{name} is not marked with @fastgate.hookimpl"
    try:
        _manager().register(plugin)
    except (ValueError, pluggy.PluginValidationError) as e:
        return " ".join(str(e).split())
    return None
