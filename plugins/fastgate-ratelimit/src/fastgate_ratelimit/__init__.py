"""Rate limits as a fastgate filter: a token bucket per key, shared by the processes of a gateway or by many."""

from __future__ import annotations

from fastgate_ratelimit.config import Config
from fastgate_ratelimit.filter import RateLimit

__all__ = ["Config", "RateLimit"]
