"""When to read files again: changes in the directories that hold them, and nothing by polling."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import awatch

from fastgate.sources.files import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from watchfiles import Change

SETTLE = 10  # ms without a further change, after which the files are read


async def changes(paths: list[Path]) -> AsyncIterator[None]:
    """Yield once when the watch stands, so that nothing that follows is missed, and once after every burst of changes.

    Directories are watched rather than files: an editor replaces a file, and a ConfigMap's volume swaps the symbolic
    link `..data` that its files point to. Where the paths lead to is looked up again after every burst.
    """
    while True:
        directories = _directories(paths)
        stop = asyncio.Event()
        bursts = awatch(
            *directories,
            watch_filter=lambda _, changed: concerns(paths, changed),
            step=SETTLE,
            debounce=400,
            stop_event=stop,
            recursive=False,
            rust_timeout=60_000,
            yield_on_timeout=False,
        )
        burst = asyncio.ensure_future(anext(bursts, None))
        try:
            await asyncio.sleep(0)  # the first step of `awatch` sets the watch up, before it waits
            yield
            while await burst and _directories(paths) == directories:
                burst = asyncio.ensure_future(anext(bursts, None))
                yield
        finally:
            stop.set()
            await asyncio.gather(burst, return_exceptions=True)


async def code(paths: Mapping[Path, bool]) -> AsyncIterator[None]:
    """Yield after every burst of changes of Python files: of packages (True) and single modules."""
    folders = {path if is_package else path.parent for path, is_package in paths.items()}

    def concerned(_: Change, changed: str) -> bool:
        path = Path(changed)
        return path.suffix == ".py" and any(path.is_relative_to(source) for source in paths)

    async for _ in awatch(*folders, watch_filter=concerned, step=SETTLE, debounce=400, rust_timeout=60_000):
        yield


def concerns(paths: list[Path], changed: str) -> bool:
    """Tell a change of configuration from one of its neighbours, such as a log in the same directory."""
    name = os.path.basename(changed)  # noqa: PTH119 - a call for each change
    if name.endswith(SUFFIXES) and not name.startswith(".") and any(path.is_dir() for path in paths):
        return True
    return name.startswith("..") or any(name in (path.name, path.resolve().name) for path in paths)


def _directories(paths: list[Path]) -> set[Path]:
    return {directory.resolve() for path in paths for directory in _around(path) if directory.is_dir()}


def _around(path: Path) -> list[Path]:
    """The directories in which a change may concern a path: its own, its parent, and those of what it links to."""
    inside = [path] if path.is_dir() else []
    return [*inside, path.parent, path.resolve().parent] if path.is_symlink() or not inside else inside
