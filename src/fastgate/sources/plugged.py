"""Resources of plugins that implement `fastgate_config_sources`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from fastgate.plugins.distributions import said
from fastgate.problems import Problem, Severity
from fastgate.sources.objects import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.plugins.hookspecs import ConfigSource
    from fastgate.plugins.manager import Hooks


class Plugged:
    """The configuration sources of all plugins. Not thread-safe."""

    def __init__(self, hooks: Hooks | None = None, changed: Callable[[], None] = lambda: None) -> None:
        """Ask the plugins for their sources. One calls `changed`, from any thread, when it has something new."""
        found = hooks.collect("fastgate_config_sources", changed=changed) if hooks is not None else []
        self._sources: list[ConfigSource] = [source for _, source in found]
        self._last: dict[int, list[Any]] = {}  # by position

    def read(self) -> tuple[list[Source], list[Problem]]:
        """Return all documents, and what is wrong. A source that fails keeps those that it had."""
        problems: list[Problem] = []
        for number, source in enumerate(self._sources):
            try:
                # Copied, because the same object is taken to have the same content.
                self._last[number] = [copy.deepcopy(document) for document in source.read()]
            except Exception as e:  # noqa: BLE001 - the author's code
                problems.append(Problem(f"cannot be read: {said(e)}", file=_named(source), severity=Severity.WARNING))
        documents = [
            Source(document, file=_named(source))
            for number, source in enumerate(self._sources)
            for document in self._last.get(number, ())
        ]
        return documents, problems


def _named(source: object) -> str:
    return str(getattr(source, "name", "") or type(source).__name__)
