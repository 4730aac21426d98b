"""Inline stages in a worker: a call runs to its end on the worker's thread, or its filters have failed.

The engine calls with the GIL held for all calls of a turn (core/filters.pyx).
"""

from __future__ import annotations

import logging
import threading
from typing import cast

from fastgate.core import calls, filters, snapshot
from fastgate.plugins import wire
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.stage import Stage, StageError

log = logging.getLogger("fastgate.filter")


class Inline(calls.InlineRunner):
    """The inline stages of the engines of this process.

    Attributes:
        catalogs: where filters are looked for, one after the other.
    """

    def __init__(self) -> None:
        """Find filters in what is installed."""
        self.catalogs = [Catalog()]
        self._owners: dict[int, set[int]] = {}  # keys of stages, by who has prepared them
        self._making = threading.Lock()  # each engine has a thread that prepares
        self._counting = threading.Lock()  # of owners; engines wait for it

    def prepare(self, owner: int, key: int, spec: bytes) -> None:
        """Make and start the filters of a stage, unless that was done. StageError: they cannot be.

        They are there until `release` is called with this owner, and every other that prepared the stage.
        """
        with self._making:
            with self._counting:
                self._owners.setdefault(owner, set()).add(key)
                if key in self.stages:
                    return
            self.stages[key] = self._made(key, spec)

    def release(self, owner: int) -> None:
        """Stop the filters of stages that only this owner had, all of whose calls have been run."""
        with self._counting:
            left = self._owners.pop(owner, set()).difference(*self._owners.values())
            stages = [cast("Stage", self.stages.pop(key)) for key in left if key in self.stages]
        for stage in stages:
            try:
                calls.driven(stage.stop())
            except Exception:
                log.exception("an inline filter did not stop")

    def _made(self, key: int, spec: bytes) -> Stage:
        text = spec.decode()
        assert snapshot.key(text) == key  # noqa: S101 - the image was validated
        for catalog in self.catalogs:
            try:
                stage = Stage(text, catalog)
                break
            except StageError:
                if catalog is self.catalogs[-1]:
                    raise
        calls.driven(stage.start())
        return stage

    def run(self, call: filters.Call) -> bytes | None:
        """Run a call and return its verdict; None for the end of an exchange, which has none."""
        stage = cast("Stage | None", self.stages.get(call.stage))
        if stage is None:
            return None if call.phase == filters.END else wire.failed(call)
        if call.phase == filters.END:
            stage.end(call.exchange)
            return None
        try:
            return calls.driven(stage.run(call)) or None
        except Exception as e:  # noqa: BLE001 - whatever a filter does
            return self.failed(call, e)

    def failed(self, call: filters.Call, error: Exception) -> bytes:
        """Log what went wrong with a call and return its verdict."""
        log.error("an inline filter failed", exc_info=error)
        return wire.failed(call)


def offer(catalog: Catalog) -> None:
    """Let the engines of this process find filters in this catalog, too, and first."""
    filters.inline().catalogs.insert(0, catalog)


def withdraw(catalog: Catalog) -> None:
    """Look for no filter in this catalog any more."""
    catalogs = filters.inline().catalogs
    catalogs[:] = [one for one in catalogs if one is not catalog]
