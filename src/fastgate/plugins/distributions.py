"""Entry points of installed distributions, and what comes of importing them."""

from __future__ import annotations

import importlib
import re
import traceback
from dataclasses import dataclass
from importlib import metadata
from typing import Any


class ImportFailure(Exception):  # noqa: N818 - a verdict on a distribution, not a failure of the program
    """A module of a plugin cannot be imported. The message says which, and what it raised."""


@dataclass(frozen=True, slots=True)
class Installed:
    """An entry point.

    Attributes:
        distribution: its normalised name.
        version: of the distribution.
        name: of the entry point.
        value: what it names, "module:attribute".
    """

    distribution: str
    version: str
    name: str
    value: str
    point: metadata.EntryPoint

    def load(self) -> Any:
        """Import and return what the entry point names.

        Raises:
            ImportFailure: whatever else the module raised.
        """
        try:
            return self.point.load()
        except (Exception, SystemExit) as e:
            raise ImportFailure(f"{self.value} cannot be imported: {said(e)}{_place(e)}") from e


def installed(group: str) -> list[Installed]:
    """Return the entry points of a group, sorted by distribution and name. Nothing is imported."""
    found: dict[tuple[str, str], Installed] = {}
    for point in metadata.entry_points(group=group):
        if point.dist is not None:
            one = Installed(normal(point.dist.name), point.dist.version, point.name, point.value, point)
            found.setdefault((one.distribution, one.name), one)  # the first on the path is the one that is imported
    return [found[key] for key in sorted(found)]


def normal(distribution: str) -> str:
    """Return a distribution's name as PyPA's specification normalises it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _place(error: BaseException) -> str:
    """Where a module raised, or cannot be read, as " (file:line)"; "" when that was in none of its own."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<frozen")]
    place = frames[-1]
    of_import = place.filename in (__file__, metadata.__file__, importlib.__file__)
    return "" if of_import else f" ({place.filename}:{place.lineno})"


def said(error: BaseException) -> str:
    """Return an exception's type and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
