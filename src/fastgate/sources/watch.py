"""When to read files again: changes in the directories that hold them, and nothing by polling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchfiles import awatch

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from pathlib import Path

SETTLE = 20  # ms without a further change, after which the files are read


async def changes(paths: list[Path], stop: asyncio.Event) -> AsyncIterator[None]:
    """Yield once after every burst of changes, until `stop` is set.

    Directories are watched rather than files: an editor replaces a file, and a ConfigMap's volume swaps the symbolic
    link `..data` that its files point to.
    """
    directories = {directory.resolve() for path in paths for directory in _around(path) if directory.is_dir()}
    async for _ in awatch(
        *directories,
        step=SETTLE,
        debounce=400,
        stop_event=stop,
        recursive=False,
        rust_timeout=60_000,
        yield_on_timeout=False,
    ):
        yield


def _around(path: Path) -> list[Path]:
    """The directories in which a change may concern a path: its own, and those of what it links to."""
    return [path] if path.is_dir() else [path.parent, path.resolve().parent]
