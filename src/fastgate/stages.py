"""The filter plugins of a rule or backend as stages: runs of consecutive ones that execute in the same way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.ir import Ir, Plugin


@dataclass(frozen=True, slots=True)
class Stage:
    """What one call runs.

    Attributes:
        spec: JSON of the plugins, by which workers and the plugin process make them; equal for equal plugins. Secrets
            that they refer to are in it.
        timeout: ms, of one call.
        deny: nobody is served when the stage does not answer.
        inline: it runs on the worker's own thread.
        phases: those that a plugin of it has.
        members: name and phases of each plugin.
        buffer_body: bytes of a request body that are waited for; the largest that a plugin of it asks for.
    """

    spec: str = field(repr=False)
    timeout: int
    deny: bool
    inline: bool
    phases: frozenset[str]
    members: tuple[tuple[str, frozenset[str]], ...]
    buffer_body: int


def stages_of(plugins: Iterable[Plugin]) -> tuple[Stage, ...]:
    """Return the stages of a list of plugins."""
    return tuple(_stage(list(group)) for _, group in groupby(plugins, lambda plugin: plugin.inline))


def _stage(plugins: list[Plugin]) -> Stage:
    documents = [{**asdict(plugin), "phases": sorted(plugin.phases)} for plugin in plugins]
    return Stage(
        spec=json.dumps(documents, sort_keys=True, separators=(",", ":")),
        timeout=sum(plugin.timeout for plugin in plugins),
        deny=any(plugin.deny for plugin in plugins),
        inline=plugins[0].inline,
        phases=frozenset().union(*(plugin.phases for plugin in plugins)),
        members=tuple((plugin.name, plugin.phases) for plugin in plugins),
        buffer_body=max(plugin.buffer_body for plugin in plugins),
    )


def offloaded(config: Ir) -> Iterator[Stage]:
    """Every stage of a configuration that plugin processes run, once for each place where it stands."""
    for plugins in _lists(config):
        for stage in stages_of(plugins):
            if not stage.inline:
                yield stage


def _lists(config: Ir) -> Iterator[tuple[Plugin, ...]]:
    rules = {
        id(match.rule): match.rule
        for socket in config.sockets
        for listener in socket.listeners
        for host in listener.hosts
        for match in host.matches
    }
    for socket in config.sockets:
        for listener in socket.listeners:
            if listener.plugins:
                yield listener.plugins
    for rule in rules.values():
        if rule.filters.plugins:
            yield rule.filters.plugins
        for backend in getattr(rule.action, "backends", ()):
            if backend.filters.plugins:
                yield backend.filters.plugins
