"""The filter plugins of a rule or backend as stages: runs of consecutive ones that execute in the same way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from itertools import compress, count, groupby
from operator import is_not
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.ir import Ir, Plugin, VirtualHost


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


class Offloaded:
    """The stages that plugin processes run, of one configuration after the other; what is the same is not looked at."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: dict[str, _Hosts] = {}  # by key of the listener

    def of(self, config: Ir) -> Iterator[Stage]:
        """Every stage of a configuration that plugin processes run, once for each place where it stands."""
        known, self._known = self._known, {}
        for socket in config.sockets:
            for listener in socket.listeners:
                hosts = self._known[listener.key] = known.get(listener.key) or _Hosts()
                hosts.follow(listener.hosts)
                for plugins in (listener.plugins, *hosts.lists()):
                    for stage in stages_of(plugins):
                        if not stage.inline:
                            yield stage


class _Hosts:
    """The virtual hosts of a listener, and the lists of plugins of those that have some."""

    def __init__(self) -> None:
        self._hosts: tuple[VirtualHost, ...] = ()
        self._lists: dict[int, list[tuple[Plugin, ...]]] = {}  # by id of the host, which the tuple keeps alive

    def follow(self, hosts: tuple[VirtualHost, ...]) -> None:
        before, after = self._hosts, hosts
        head = _same(before, after)
        tail = min(_same(before[::-1], after[::-1]), min(len(before), len(after)) - head)
        for host in before[head : len(before) - tail]:
            self._lists.pop(id(host), None)
        for host in after[head : len(after) - tail]:
            if lists := _lists(host):
                self._lists[id(host)] = lists
        self._hosts = hosts

    def lists(self) -> Iterator[tuple[Plugin, ...]]:
        for lists in self._lists.values():
            yield from lists


def _same(one: tuple[VirtualHost, ...], other: tuple[VirtualHost, ...]) -> int:
    """Return how many of the first hosts of both are the same objects."""
    return next(compress(count(), map(is_not, one, other)), min(len(one), len(other)))


def _lists(host: VirtualHost) -> list[tuple[Plugin, ...]]:
    rules = {id(match.rule): match.rule for match in host.matches}.values()
    filters = [rule.filters for rule in rules]
    filters += [backend.filters for rule in rules for backend in getattr(rule.action, "backends", ())]
    return [each.plugins for each in filters if each.plugins]
