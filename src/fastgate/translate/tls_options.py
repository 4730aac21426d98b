"""The `options` of TLS, of listeners and of policies: names and what their values mean.

Keys with our prefix are ours, keys without any are reserved by the Gateway API, and both are faults where they are not
known. Keys of other domains are for other implementations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.ir import TLS12, TLS13

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX = "fastgate.dev/"
MIN_VERSION = f"{PREFIX}min-tls-version"
MAX_VERSION = f"{PREFIX}max-tls-version"
VERSIONS = (MIN_VERSION, MAX_VERSION)

_VERSIONS = {"1.2": TLS12, "1.3": TLS13}


class OptionError(ValueError):
    """An option has a value that cannot be used; `key` is its name."""

    def __init__(self, key: str, message: str) -> None:
        """Say what is wrong with an option."""
        super().__init__(message)
        self.key = key


def unknown(options: Mapping[str, str], known: Collection[str]) -> list[str]:
    """Return the keys, sorted, that are ours or reserved, and that nobody knows."""
    return sorted(key for key in options if key not in known and (key.startswith(PREFIX) or "/" not in key))


def foreign(options: Mapping[str, str]) -> list[str]:
    """Return the options, sorted, that are other implementations' and mean nothing here."""
    return sorted(key for key in options if "/" in key and not key.startswith(PREFIX))


def versions(options: Mapping[str, str]) -> tuple[int, int]:
    """Return the first and the last version of TLS that is spoken.

    Raises:
        OptionError: one is no version, or the first is later than the last.
    """
    first, last = (_version(options, key, default) for key, default in ((MIN_VERSION, TLS12), (MAX_VERSION, TLS13)))
    if first > last:
        raise OptionError(MIN_VERSION, f"{options[MIN_VERSION]} is later than {MAX_VERSION}")
    return first, last


def _version(options: Mapping[str, str], key: str, default: int) -> int:
    value = options.get(key)
    if value is None:
        return default
    if value not in _VERSIONS:
        raise OptionError(key, f"{value!r} is no version of TLS that is supported: {', '.join(_VERSIONS)} are")
    return _VERSIONS[value]
