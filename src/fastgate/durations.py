"""Durations as Gateway API spells them (GEP-2257)."""

from __future__ import annotations

import re

_UNITS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"  # the specification's
_PART = re.compile(r"(\d{1,5})(h|ms|m|s)")


def milliseconds(duration: str | None) -> int:
    """Return a GEP-2257 duration such as "1h30m" or "250ms" in milliseconds; 0 for None (no limit) and for "0s".

    Raises:
        ValueError: the text is not a duration. Models validate their fields: no resource gets here with such a text.
    """
    if duration is None:
        return 0
    parts = list(_PART.finditer(duration))
    if not parts or "".join(part[0] for part in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration")
    return sum(int(part[1]) * _UNITS[part[2]] for part in parts)


def spelled(duration: int) -> str:
    """Return a duration in milliseconds as GEP-2257 spells it, in the largest units that it has.

    Raises:
        ValueError: it is negative, or has more hours than five digits.
    """
    if not 0 <= duration < 100_000 * _UNITS["h"]:
        raise ValueError(f"{duration} ms is no duration between 0s and 99999h59m59s999ms")
    parts = []
    left = duration
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
