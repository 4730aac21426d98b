"""Hooks of the whole process: what modules of entry-point group `fastgate` may implement, with `@fastgate.hookimpl`.

They are called in the process that manages workers, never on the path of a request. An implementation names those of
the arguments that it wants. What one raises is logged with the name of its distribution, and the others are called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from fastgate.api.metadata import Resource
    from fastgate.ir import Ir
    from fastgate.store import Store

PROJECT = "fastgate"
hookimpl = pluggy.HookimplMarker(PROJECT)
# The manager calls each plugin by itself, and so has at most one result.
_hookspec = pluggy.HookspecMarker(PROJECT)(firstresult=True)


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of samples for the metrics that the admin listener serves.

    Attributes:
        name: as Prometheus wants it, with its prefix, without "_total".
        help: one line.
        kind: of the family; the name of a counter gets "_total".
        samples: labels and value.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: Sequence[tuple[Mapping[str, str], float]]


class ConfigSource(Protocol):
    """Resources that do not come from files."""

    name: str

    def read(self) -> Iterable[Mapping[str, Any]]:
        """Return all of its resources. Called at every reload, in a thread; what it raises keeps those of before."""


class AccessLogSink(Protocol):
    """Where access logs go besides the file. What a sink is too slow for is dropped and counted; no request waits."""

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Take lines, by column; of a log that is text, `{"text": line}`. Called in a thread of its own."""


@_hookspec
def fastgate_startup() -> Awaitable[None] | None:
    """Begin, before the configuration is read the first time. A coroutine is awaited."""


@_hookspec
def fastgate_shutdown() -> Awaitable[None] | None:
    """End, when no request is served any more. A coroutine is awaited."""


@_hookspec
def fastgate_metrics() -> Iterable[Metric]:
    """Return metrics of one's own. Called on the event loop at every scrape: it must not wait."""
    raise NotImplementedError


@_hookspec
def fastgate_config_sources(changed: Callable[[], None]) -> Iterable[ConfigSource]:
    """Return sources of resources, after `fastgate_startup`. `changed` asks for a reload, from any thread."""
    raise NotImplementedError


@_hookspec
def fastgate_amend_ir(ir: Ir, resources: Store) -> Ir | None:
    """Return another configuration in the place of what these resources mean; None leaves it. Provisional.

    It has to be pure: it is called twice, and a configuration for which the results differ is refused, as is one that
    the call fails for. No cluster can be added: endpoints are published apart.
    """


@_hookspec
def fastgate_access_log_sinks() -> Iterable[AccessLogSink]:
    """Return sinks of access logs, after `fastgate_startup`."""
    raise NotImplementedError


@_hookspec
def fastgate_resource_kinds() -> Mapping[tuple[str, str], type[Resource]]:
    """Return models of further kinds of resources, by apiVersion and kind. Called once, before `fastgate_startup`.

    Such resources are in namespaces. They are validated with all others, and are for `fastgate_amend_ir` to read.
    """
    raise NotImplementedError
