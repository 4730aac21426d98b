"""Inline stages in a worker: a call runs to its end on the worker's thread, or its filters have failed.

The engine calls with the GIL held for all calls of a turn (core/filters.pyx).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from fastgate.core import filters, snapshot
from fastgate.plugins import wire
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Coroutine


log = logging.getLogger("fastgate.filter")


class Inline:
    """The inline stages of the engines of this process."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        """Find filters in this catalog, by default in what is installed."""
        self._catalog = catalog if catalog is not None else Catalog()
        self._stages: dict[int, Stage] = {}

    def prepare(self, key: int, spec: bytes) -> None:
        """Make and start the filters of a stage, unless that was done. StageError: they cannot be."""
        if key in self._stages:
            return
        text = spec.decode()
        assert snapshot.key(text) == key  # noqa: S101 - the image was validated
        stage = Stage(text, self._catalog)
        _driven(stage.start())
        self._stages[key] = stage

    def run(self, call: filters.Call) -> bytes | None:
        """Run a call and return its verdict; None for the end of an exchange, which has none."""
        stage = self._stages.get(call.stage)
        if stage is None:
            return None if call.phase == filters.END else wire.failed(call)
        if call.phase == filters.END:
            stage.end(call.exchange)
            return None
        try:
            return _driven(stage.run(call)) or None
        except Exception:
            log.exception("an inline filter failed")
            return wire.failed(call)


def _driven(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that does not wait."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError(f"an inline filter cannot wait, and awaited {waits_for!r}: let it run offloaded")
