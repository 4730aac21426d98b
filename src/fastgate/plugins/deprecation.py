"""Public names that go away: they work for two more minor releases, and say what takes their place."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata

from fastgate.plugins.distributions import normal

log = logging.getLogger("fastgate")


@dataclass(frozen=True, slots=True)
class Deprecated:
    """A name that goes away.

    Attributes:
        replacement: the public name that is meant by it.
        removed_in: the release that does not have it any more, such as "1.4".
    """

    replacement: str
    removed_in: str


DEPRECATED: dict[str, Deprecated] = {}  # by name, of `fastgate`
uses: dict[tuple[str, str], int] = {}  # by distribution and name


def used(name: str, found: Deprecated, depth: int) -> None:
    """Warn the caller `depth` frames up of a name that it uses, and log the first use of each distribution."""
    module = str(sys._getframe(depth).f_globals.get("__name__", ""))  # noqa: SLF001 - there is no other way to the caller
    if module.startswith("importlib."):
        return  # `from fastgate import ...` first looks whether there is such a name
    instead = f"use fastgate.{found.replacement}"
    sentence = f"fastgate.{name} is deprecated and will be removed in {found.removed_in}: {instead}"
    warnings.warn(sentence, DeprecationWarning, stacklevel=depth + 1)
    distributions = metadata.packages_distributions().get(module.partition(".")[0], [module])
    key = (normal(distributions[0]), name)
    uses[key] = uses.get(key, 0) + 1
    if uses[key] == 1:
        log.warning("%s: %s", key[0], sentence)
