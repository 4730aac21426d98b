"""The arithmetic of token buckets, in nanoseconds.

A bucket is one number: the time at which it is full again, if nothing is taken until then (the "theoretical arrival
time" of the Generic Cell Rate Algorithm). A bucket that was never used, or not for long, is full: that it is forgotten
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast a bucket fills, and what it holds.

    Attributes:
        interval: in which one token comes.
        burst: tokens in a full one.
    """

    interval: int
    burst: int

    @property
    def capacity(self) -> int:
        """The time in which an empty bucket fills."""
        return self.interval * self.burst


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of taking a token.

    Attributes:
        allowed: there was one.
        remaining: how many there are now.
        wait: until there is one; 0 when there is.
        full: until there are all.
    """

    allowed: bool
    remaining: int
    wait: int
    full: int


def decision(rate: Rate, *, allowed: bool, full: int) -> Decision:
    """Return a decision by the time until the bucket is full."""
    room = max(0, rate.capacity - full)
    return Decision(allowed, room // rate.interval, max(0, rate.interval - room), full)


def take(rate: Rate, full_at: int, now: int) -> tuple[Decision, int]:
    """Take a token of a bucket; return what came of it, and when the bucket is full then.

    A time that no bucket of this rate can have, since something else was there, counts as that of an empty one.
    """
    full_at = min(max(full_at, now), now + rate.capacity)
    allowed = full_at + rate.interval <= now + rate.capacity
    if allowed:
        full_at += rate.interval
    return decision(rate, allowed=allowed, full=full_at - now), full_at
