"""Buckets in a server that speaks Redis's protocol: its clock counts, and a script takes a token atomically."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from fastgate_ratelimit.bucket import decision
from fastgate_ratelimit.store import StoreError

if TYPE_CHECKING:
    from fastgate_ratelimit.bucket import Decision, Rate
    from fastgate_ratelimit.config import RedisStore

log = logging.getLogger("fastgate_ratelimit")

_REST = 1.0  # seconds after a failure in which the server is not asked; then one request tries
_MICROSECOND = 1000  # ns

# KEYS: the bucket. ARGV: interval and capacity in microseconds. Returns whether there was a token, and the microseconds
# until the bucket is full.
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or now)
full_at = math.min(math.max(full_at, now), now + capacity)
local allowed = full_at + interval <= now + capacity
if allowed then
    full_at = full_at + interval
    redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
end
return {allowed and 1 or 0, math.floor(full_at - now)}
"""


class Shared:
    """The buckets of one rate, in a server."""

    def __init__(self, config: RedisStore, rate: Rate) -> None:
        """Take the URL; ValueError says what is wrong with it."""
        self._rate = rate
        self._prefix = config.prefix
        self._timeout = config.timeout
        self._arguments = (rate.interval / _MICROSECOND, rate.capacity / _MICROSECOND)
        self._ask_again = 0.0  # while the server does not answer: when one request tries
        url = config.url if isinstance(config.url, str) else config.url.value.strip()
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=config.connections,
            timeout=None,  # ours holds
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),  # a kept connection may be dead
        )
        self._client = Redis(connection_pool=pool)
        self._script = self._client.register_script(_SCRIPT)

    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.aclose(close_connection_pool=True)

    async def take(self, owner: str, key: bytes) -> Decision:
        """Take a token, as `Store` says."""
        now = time.monotonic()
        if self._ask_again:
            if now < self._ask_again:
                raise StoreError("the server does not answer")
            self._ask_again = now + _REST
        name = f"{self._prefix}:{owner}:{hashlib.blake2b(key, digest_size=16).hexdigest()}"
        try:
            async with asyncio.timeout(self._timeout):
                allowed, full = await self._script(keys=[name], args=self._arguments)
        except (RedisError, OSError, TimeoutError) as e:
            if not self._ask_again:
                log.warning("the server of rate limits does not answer: %s", str(e) or type(e).__name__)
            self._ask_again = time.monotonic() + _REST
            raise StoreError(str(e) or type(e).__name__) from e
        if self._ask_again:
            log.warning("the server of rate limits answers again")
            self._ask_again = 0.0
        return decision(self._rate, allowed=bool(allowed), full=full * _MICROSECOND)
