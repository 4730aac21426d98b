"""The one place where a regular expression of a route is judged: by the matcher that will run it."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=65536)
def check(pattern: str) -> str | None:
    """Return why the matcher refuses a pattern (its syntax, or RE2's limits), or None when it accepts it."""
    from fastgate.core import regex  # noqa: PLC0415 - most configurations have no pattern and need no RE2

    return regex.check(pattern)


def search(pattern: str, text: str) -> bool:
    """Say whether a pattern that `check` accepts finds something in a text; it is not anchored."""
    from fastgate.core import regex  # noqa: PLC0415 - see check

    return regex.search(pattern, text)
