"""W3C Trace Context (https://www.w3.org/TR/trace-context/): where in which trace a request comes from."""

from __future__ import annotations

import re
from typing import NamedTuple

# Section 3.2. A version above 00 may have more behind the flags; ff is none.
_HEADER = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceParent(NamedTuple):
    """What a `traceparent` says.

    Attributes:
        trace_id: 32 lower-case hexadecimal digits, not all of them 0.
        span_id: of the caller, 16 digits.
        flags: 8 bits.
    """

    trace_id: str
    span_id: str
    flags: int = 0

    @property
    def sampled(self) -> bool:
        """Whether the caller may have recorded its span."""
        return bool(self.flags & _SAMPLED)

    @classmethod
    def parse(cls, header: str) -> TraceParent | None:
        """Return what the header's value says; None when it is malformed."""
        found = _HEADER.fullmatch(header)
        if found is None:
            return None
        version, trace, span, flags, more = found.groups()
        return cls(trace, span, int(flags, 16)) if more is None or version != "00" else None

    def __str__(self) -> str:
        """Return the value of the header, for a request of one's own."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & _SAMPLED:02x}"
