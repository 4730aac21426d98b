"""Python's cyclic garbage collector, kept from looking at whole configurations again and again.

Resources and what is made of them have no cycles and live long: collections would take most of the time of a change.
So they pause while one is prepared, and what is there after the 1st, 2nd, 4th, 8th, ... change, and each 256th, is set
aside (`gc.freeze`). What is a cycle of garbage by then is collected before: set aside, it would stay for ever, and with
it the generation that it refers to.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OFTEN = 256  # changes


class Collector:
    """Counts changes. One for a process."""

    def __init__(self) -> None:
        """Have seen none."""
        self._changes = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Prepare a change without collections."""
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            self._changes += 1
            is_power_of_two = not self._changes & (self._changes - 1)
            if is_power_of_two or not self._changes % _OFTEN:
                gc.collect()
                gc.freeze()
