"""From documents to traffic: validates, translates and hands over to the listener manager, again and again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastgate.core import snapshot
from fastgate.errors import ConfigurationError
from fastgate.listener_manager import ApplyError
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.manager import AmendError, Hooks
from fastgate.plugins.reload import reloaded
from fastgate.problems import Problem, Severity
from fastgate.resolver import Resolver, merged
from fastgate.sources.findings import problems_of
from fastgate.sources.objects import Loaded, Objects
from fastgate.store import Store
from fastgate.translate import Translation, Translator
from fastgate.translate.conditions import Statuses
from fastgate.translate.mode import FILES, Mode
from fastgate.translate.programmed import Programmed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastgate.ir import AccessLog, Endpoints, Ir
    from fastgate.listener_manager import ListenerManager
    from fastgate.publication import Table
    from fastgate.sources.objects import Source
    from fastgate.translate.conditions import Name
    from fastgate.translate.homes import Home


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one configuration.

    Attributes:
        applied: whether it is served now; if not, what was served before still is.
        generation: of the image that is served.
        problems: everything that is wrong with it, and warnings.
        statuses: of its objects, with what became of the sockets.
    """

    applied: bool
    generation: int
    problems: tuple[Problem, ...]
    statuses: Statuses

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep an object from being served."""
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A set of documents that can be served; None in the place of what was not made because it is refused."""

    problems: tuple[Problem, ...]
    loaded: Loaded | None = None
    translation: Translation | None = None


@dataclass(frozen=True, slots=True)
class LastReload:
    """What became of the documents that were given last.

    Attributes:
        successful: whether all of them are served: none was refused, and nothing was rolled back since.
        succeeded_at: seconds since the epoch when that last came to be so; 0: never yet.
    """

    successful: bool = False
    succeeded_at: float = 0.0


class Runtime:
    """Applies sets of documents to a listener manager."""

    def __init__(
        self,
        manager: ListenerManager,
        *,
        strict: bool = False,
        access_log: AccessLog | None = None,
        hooks: Hooks | None = None,
        catalog: Catalog | None = None,
        mode: Mode = FILES,
    ) -> None:
        """Use this manager.

        Args:
            manager: serves what is applied.
            strict: refuse a set with an error in it.
            access_log: overrides what Gateways ask for.
            hooks: plugins of the process; none unless given.
            catalog: filters that Filters may name; by default those that are installed.
            mode: how stores are read.
        """
        self.manager = manager
        self.strict = strict
        self.access_log = access_log
        self.hooks = Hooks(look=False) if hooks is None else hooks
        self.loaded: Loaded | None = None
        self.translation: Translation | None = None
        self.report = Report(applied=False, generation=0, problems=(), statuses=Statuses())
        self.last_reload = LastReload()
        self.refused: tuple[Problem, ...] = ()  # what is wrong with the last set, when nothing of it is served
        self._before: tuple[Loaded | None, Translation | None, Report] | None = None
        self._objects = Objects(self.hooks.kinds)
        self._catalog = Catalog() if catalog is None else catalog
        self._mode = mode
        self._translator = Translator(self._catalog, mode)
        self._programmed = Programmed()
        self._resolver = Resolver()
        self._lock = asyncio.Lock()
        manager.on_roll_back = self._rolled_back

    async def apply(self, sources: Iterable[Source], problems: Iterable[Problem] = ()) -> Report:
        """Serve these documents. Faults are in the report; nothing is raised for them.

        Args:
            sources: all documents.
            problems: what was wrong before they became documents.
        """
        return await self.publish(await self.prepare(sources, problems))

    async def prepare(
        self, sources: Iterable[Source], problems: Iterable[Problem] = (), *, strict: bool = False
    ) -> Prepared:
        """Validate, translate and look names up; nothing of what is served changes. `strict` refuses any error."""
        async with self._lock:
            loaded = await asyncio.to_thread(self._objects.load, sources)
            found = [*problems, *loaded.problems, *self.hooks.problems]
            if (strict or self.strict) and any(p.severity is Severity.ERROR for p in found):
                return Prepared(tuple(found))
            return await self._prepared(loaded, found)

    async def prepare_store(self, store: Store, homes: Mapping[Name, Home], mode: Mode) -> Prepared:
        """Likewise for resources that an API server holds, and the homes of their Gateways."""
        async with self._lock:
            self._mode = self._translator.mode = mode
            return await self._prepared(Loaded(store, ()), list(self.hooks.problems), homes)

    async def prepare_ir(self, ir: Ir, endpoints: Endpoints) -> Prepared:
        """Likewise for what somebody else has translated: it has no statuses here."""
        async with self._lock:
            await self._resolver.resolve(endpoints.names)
            return Prepared((), Loaded(Store(), ()), self._overridden(Translation(ir, endpoints, Statuses())))

    async def _prepared(
        self, loaded: Loaded, found: list[Problem], homes: Mapping[Name, Home] | None = None
    ) -> Prepared:
        try:
            translation = self._overridden(await asyncio.to_thread(self._translated, loaded.store, homes))
        except AmendError as e:
            return Prepared((*found, Problem(str(e))))
        found += problems_of(loaded, translation)
        await self._resolver.resolve(translation.endpoints.names)
        return Prepared(tuple(found), loaded, translation)

    async def reload_filters(self) -> None:
        """Translate with the filters as their sources are now. ReloadError: they cannot be used; it stays as it was."""
        async with self._lock:
            self._catalog = await asyncio.to_thread(reloaded, self._catalog)
            self._translator = Translator(self._catalog, self._mode)

    async def publish(self, prepared: Prepared, *, renew: float | None = None) -> Report:
        """Serve what was prepared; with `renew` by new workers, while the others finish within so many seconds."""
        async with self._lock:
            translation = prepared.translation
            if translation is None:
                return self._refused(prepared.problems)
            before = (self.loaded, self.translation, self.report)
            try:
                if renew is None:
                    await self.manager.apply(translation.ir, self._endpoints(translation))
                else:
                    await self.manager.renew(translation.ir, self._endpoints(translation), renew)
            except ApplyError as e:
                return self._refused([*prepared.problems, Problem(f"the workers refused the configuration: {e}")])
            self._before, self.refused = before, ()
            self._resolver.keep(translation.endpoints.names)
            self.loaded, self.translation = prepared.loaded, translation
            self.manager.count("reloads")
            self.report = Report(
                applied=True,
                generation=self.manager.generation,
                problems=prepared.problems,
                statuses=self._programmed.resolve(translation.statuses, {"": self.manager.fates}),
            )
            self.last_reload = (
                self._failed() if self.report.errors else LastReload(successful=True, succeeded_at=time.time())
            )
            return self.report

    def _rolled_back(self, reason: str) -> None:
        """Show what is served again, and why."""
        if self._before is not None:
            self.loaded, self.translation, served = self._before
            problems = (*served.problems, Problem(reason))
            self.report = replace(served, applied=False, generation=self.manager.generation, problems=problems)
            self.last_reload = self._failed()
            self._before = None

    async def keep_resolving(self) -> None:
        """Look DNS names up when they are due, and publish what changed."""
        async for _ in self._resolver.changes():
            async with self._lock:
                if self.translation is not None:
                    await self.manager.publish_endpoints(self._endpoints(self.translation))

    async def rebind(self) -> Report | None:
        """Try again to bind what could not be bound; return what became of it, None when nothing did."""
        async with self._lock:
            if self.translation is None or not await self.manager.rebind():
                return None
            self.report = replace(
                self.report, statuses=self._programmed.resolve(self.translation.statuses, {"": self.manager.fates})
            )
            return self.report

    def _endpoints(self, translation: Translation) -> Table:
        """The endpoints of a translation with the addresses that are known now."""
        endpoints = translation.endpoints
        return merged(endpoints.clusters, self._resolver.table(endpoints.names))

    def _refused(self, problems: Iterable[Problem]) -> Report:
        self.manager.count("reloads_refused")
        self.last_reload = self._failed()
        self.refused = tuple(problems)
        served = self.report
        return Report(applied=False, generation=served.generation, problems=self.refused, statuses=served.statuses)

    def _failed(self) -> LastReload:
        return replace(self.last_reload, successful=False)

    def _translated(self, store: Store, homes: Mapping[Name, Home] | None) -> Translation:
        translation = self._translator.translate(store, homes)
        if not self.hooks.has("fastgate_amend_ir"):
            return translation
        ir = self.hooks.amend(translation.ir, store)
        try:
            snapshot.build(ir)
        except Exception as e:
            raise AmendError(f"what fastgate_amend_ir made cannot be served: {e!r}") from e
        return replace(translation, ir=ir)

    def _overridden(self, translation: Translation) -> Translation:
        """The translation with the access log that the command line asks for."""
        if self.access_log is None:
            return translation
        sockets = tuple(
            replace(s, settings=replace(s.settings, access_log=self.access_log)) for s in translation.ir.sockets
        )
        return replace(translation, ir=replace(translation.ir, sockets=sockets))


def check(report: Report) -> Report:
    """Return the report, or raise ConfigurationError when it was not applied or has errors."""
    if report.errors or not report.applied:
        raise ConfigurationError(report.errors)
    return report
