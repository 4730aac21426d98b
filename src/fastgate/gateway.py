"""A gateway inside another program: engines on threads of this process, no signal handlers, no prints."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fastgate.errors import Error, StoppedError
from fastgate.ir import AccessLog
from fastgate.listener_manager import ListenerManager
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.manager import Hooks
from fastgate.problems import Problem
from fastgate.runtime import Report, Runtime, check
from fastgate.sinks import Sinks
from fastgate.sources.documents import YamlError, parse
from fastgate.sources.files import Files
from fastgate.sources.objects import Source
from fastgate.sources.plugged import Plugged
from fastgate.translate.conditions import all_json

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping
    from types import TracebackType

    from fastgate.plugins.filter import Filter
    from fastgate.statistics import Totals

T = TypeVar("T")


def sources_of(resources: str | Path | Iterable[Mapping[str, Any] | Path]) -> tuple[list[Source], list[Problem]]:
    """Return the documents of YAML text, of paths, or of mappings, and what is wrong with them."""
    if isinstance(resources, Path):
        return Files([resources]).read()
    if isinstance(resources, str):
        try:
            return [Source(d.value, mark=d.mark) for d in parse(resources, with_marks=True)], []
        except YamlError as e:
            return [], [Problem(str(e), mark=e.mark)]
    sources: list[Source] = []
    problems: list[Problem] = []
    for resource in resources:
        if isinstance(resource, Path):
            found, wrong = Files([resource]).read()
            sources += found
            problems += wrong
        else:
            sources.append(Source(resource))
    return sources, problems


class Gateway:
    """Serves Gateway API resources from this process.

    Use it as a context manager, synchronous or asynchronous; or call `start` and `stop`.

        with fastgate.Gateway(resources, ports={80: 0}) as gateway:
            host, port = gateway.address("http")

    Args:
        resources: YAML text, a path, or resources as mappings and paths.
        ports: where a listener's port is bound in its place; 0 lets the system choose.
        workers: engine threads.
        access_log: "json" or "text" lines to `access_log_fd`, or "off".
        access_log_fd: descriptor of the access log; it stays the caller's.
        strict: refuse a set of resources with an error in it rather than the faulty objects.
        filters: classes that Filters may name, beside those that are installed. A name means one class in all gateways
            of a process.
        plugins: modules or objects with hooks of the process, by name, beside those that are installed.
    """

    def __init__(
        self,
        resources: str | Path | Iterable[Mapping[str, Any] | Path],
        *,
        ports: Mapping[int, int] | None = None,
        workers: int = 1,
        access_log: str = "off",
        access_log_fd: int = -1,
        strict: bool = False,
        filters: Mapping[str, type[Filter[Any]]] | None = None,
        plugins: Mapping[str, object] | None = None,
    ) -> None:
        """Keep the arguments; `start` serves."""
        self._resources = resources
        self._manager_options: dict[str, Any] = {
            "workers": workers, "threads": True, "ports": ports, "log_fd": access_log_fd, "catalog": Catalog(filters),
        }  # fmt: skip
        self._access_log = AccessLog(access_log)
        self._strict = strict
        self._plugins = plugins
        self._plugged = Plugged()
        self._applying: asyncio.Lock
        self._given: tuple[list[Source], list[Problem]] = ([], [])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runtime: Runtime | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> Report:
        """Bind, start the workers and serve.

        Raises:
            ConfigurationError: an object was refused; nothing runs then.
        """
        if self._loop is not None:
            raise Error("the gateway has been started already")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fastgate-manager", daemon=True)
        self._thread.start()
        try:
            return check(self._run(self._start()))
        except BaseException:
            self.stop(drain=0)
            raise

    def stop(self, drain: float = 10.0) -> bool:
        """Finish what is open for at most `drain` seconds, then end. Returns whether everything did."""
        if self._loop is None or self._thread is None:
            return True
        finished = True
        if self._runtime is not None:
            finished = self._run(self._stop(self._runtime, drain))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = self._runtime = None
        return finished

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, after a drain when the block ended well."""
        self.stop() if kind is None else self.stop(drain=0)

    async def __aenter__(self) -> Self:
        """Start without blocking the caller's event loop."""
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop without blocking the caller's event loop."""
        await asyncio.to_thread(self.stop, 10.0 if kind is None else 0.0)

    # --- use ---------------------------------------------------------------------------------------------------------

    def apply(self, resources: str | Path | Iterable[Mapping[str, Any] | Path]) -> Report:
        """Serve other resources. Refused objects keep their previous version and are in the report's problems."""
        given = sources_of(resources)
        return self._run(self._apply(self._running(), given))

    def wait_ready(self, timeout: float = 10.0) -> None:
        """Wait until every listener that can be served is; `start` and `apply` have done so when they return.

        Raises:
            TimeoutError: a worker that died has not been replaced in time.
        """
        self._run(asyncio.wait_for(self._ready(), timeout))

    def address(self, listener: str) -> tuple[str, int]:
        """Return the host and port that a listener is reached at.

        Args:
            listener: its name, `namespace/gateway/name` when several Gateways have one of that name.

        Raises:
            KeyError: no such listener is bound.
        """
        runtime = self._running()
        bound = runtime.manager.bound
        assert runtime.translation is not None  # noqa: S101 - started
        for socket in runtime.translation.ir.sockets:
            for one in socket.listeners:
                if listener in (one.name, one.key, f"{one.gateway}/{one.name}") and socket.key in bound:
                    host, port = bound[socket.key]
                    return host or "127.0.0.1", port
        raise KeyError(listener)

    def status(self) -> dict[str, dict[str, Any]]:
        """Return the statuses of all objects: by `Kind/namespace/name`, in the form of the API's `status` field."""
        return all_json(self._running().report.statuses)

    def metrics(self) -> Totals:
        """Return what the workers have counted."""
        return self._running().manager.statistics.totals()

    # --- on the manager's event loop ---------------------------------------------------------------------------------

    async def _start(self) -> Report:
        manager = ListenerManager(**self._manager_options)
        hooks = await asyncio.to_thread(Hooks, self._plugins)
        runtime = self._runtime = Runtime(
            manager, strict=self._strict, access_log=self._access_log, hooks=hooks,
            catalog=self._manager_options["catalog"],
        )  # fmt: skip
        await hooks.call_and_wait("fastgate_startup")
        manager.sinks = Sinks.of(hooks)
        await manager.start()
        wanted = asyncio.Event()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(wanted.set)

        self._plugged = Plugged(hooks, changed)
        self._applying = asyncio.Lock()
        report = await self._apply(runtime, sources_of(self._resources))
        self._tasks = [
            asyncio.ensure_future(runtime.keep_resolving()),
            asyncio.ensure_future(self._follow(runtime, wanted)),
        ]
        return report

    async def _apply(self, runtime: Runtime, given: tuple[list[Source], list[Problem]] | None = None) -> Report:
        """Serve what is given, by default what was last, with what the plugins have."""
        async with self._applying:
            sources, problems = self._given = given or self._given
            more, wrong = await asyncio.to_thread(self._plugged.read)
            return await runtime.apply([*sources, *more], [*problems, *wrong])

    async def _follow(self, runtime: Runtime, wanted: asyncio.Event) -> None:
        while True:
            await wanted.wait()
            wanted.clear()
            await self._apply(runtime)

    async def _stop(self, runtime: Runtime, drain: float) -> bool:
        for task in self._tasks:
            task.cancel()
        finished = await runtime.manager.drain(timeout=drain) if drain > 0 else True
        await runtime.manager.stop()
        if runtime.manager.sinks is not None:
            await asyncio.to_thread(runtime.manager.sinks.close)
        await runtime.hooks.call_and_wait("fastgate_shutdown")
        return finished

    async def _ready(self) -> None:
        manager = self._running().manager
        while manager.missing:  # noqa: ASYNC110 - it takes as long as a process needs to start
            await asyncio.sleep(0.01)

    def _running(self) -> Runtime:
        if self._runtime is None:
            raise StoppedError("the gateway is not running")
        return self._runtime

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise StoppedError("the gateway is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
