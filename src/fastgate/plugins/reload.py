"""Changed plugins, while they are developed: which files they are of, and importing them again."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate.plugins.discovery import GROUP, Catalog, PluginProblem
from fastgate.plugins.distributions import installed

if TYPE_CHECKING:
    from types import ModuleType


class ReloadError(Exception):
    """A changed plugin cannot take the place of the one that was there; the message says why."""


def sources() -> dict[Path, bool]:
    """Return the packages (True) and single modules of filters that are used where their sources are, by path.

    What was copied into the environment is not among them.
    """
    copied = [Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")]
    found: dict[Path, bool] = {}
    for point in installed(GROUP):
        spec = find_spec(point.value.partition(":")[0].partition(".")[0])
        if spec is None:
            continue
        folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or ()]
        paths = folders or ([Path(spec.origin).resolve()] if spec.has_location and spec.origin else [])
        found |= {path: bool(folders) for path in paths if not any(path.is_relative_to(one) for one in copied)}
    return found


def reloaded(catalog: Catalog) -> Catalog:
    """Import the plugins of `sources` again, as far as they were imported, and return a catalog of them.

    Raises:
        ReloadError: a filter that could be used before cannot be any more. The modules are those of before then.
    """
    paths = sources()
    before = {name: module for name, module in sys.modules.items() if _is_of(module, paths)}
    for name in before:
        del sys.modules[name]
    importlib.invalidate_caches()
    new = Catalog()
    for name in catalog.used():
        found = new.check(name)
        if isinstance(found, PluginProblem):
            for half in [name for name, module in sys.modules.items() if _is_of(module, paths)]:
                del sys.modules[half]
            sys.modules.update(before)
            raise ReloadError(found.message)
    return new


def _is_of(module: ModuleType, paths: dict[Path, bool]) -> bool:
    file = getattr(module, "__file__", None)
    if file is None:
        return False
    path = Path(file).resolve()
    return any(path.is_relative_to(source) for source in paths)
