"""The filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastgate
from fastgate_ratelimit.bucket import SECOND, Decision
from fastgate_ratelimit.config import Config, LocalStore
from fastgate_ratelimit.key import Template
from fastgate_ratelimit.local import Local
from fastgate_ratelimit.shared import Shared
from fastgate_ratelimit.store import StoreError

if TYPE_CHECKING:
    from fastgate_ratelimit.store import Store


class RateLimit(fastgate.Filter[Config]):
    """Lets so many requests of each key pass, and answers the others with 429."""

    def __init__(self, config: Config | None = None) -> None:
        """Take the configuration; ValueError says what is wrong with the store's URL."""
        super().__init__(config)
        config = self.config
        store, rate = config.store, config.rate
        self._store: Store = Local(store, rate) if isinstance(store, LocalStore) else Shared(store, rate)
        self._template = Template(config.key, ipv4_prefix=config.ipv4_prefix, ipv6_prefix=config.ipv6_prefix)
        self._decision = fastgate.StateKey[Decision]("rate limit")  # each Filter of a route has its own
        window = f";w={config.per:.0f}" if config.per == int(config.per) else ""
        self._policy = f'"{config.name}";q={config.requests}{window}'

    async def start(self) -> None:
        """Open the store."""
        await self._store.start()

    async def stop(self) -> None:
        """Close the store."""
        await self._store.stop()

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Take a token of the request's bucket."""
        try:
            decision = await self._store.take(context.filter, self._template.key(request, context))
        except StoreError:
            context.count("ratelimit_failed")
            if self.config.on_failure == "Allow":
                return None
            return fastgate.Response(503, "the rate limit is not available\n", {"retry-after": "1"})
        if decision.allowed:
            context[self._decision] = decision
            return None
        context.count("ratelimit_limited")
        response = fastgate.Response(429, "too many requests\n", {"retry-after": str(_seconds(decision.wait))})
        self._say(response, decision)
        return response

    async def on_response(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> None:
        """Say what is left."""
        decision = context.get(self._decision)
        if decision is not None:
            self._say(response, decision)

    def _say(self, response: fastgate.Response, decision: Decision) -> None:
        """Add the fields of draft-ietf-httpapi-ratelimit-headers."""
        if self.config.headers:
            wait = decision.wait or decision.full  # until there is more to take
            response.headers.add("ratelimit-policy", self._policy)
            response.headers.add("ratelimit", f'"{self.config.name}";r={decision.remaining};t={_seconds(wait)}')


def _seconds(nanoseconds: int) -> int:
    """Whole seconds, of which there is one at least: a client that waits so long has waited long enough."""
    return max(1, -(-nanoseconds // SECOND))
