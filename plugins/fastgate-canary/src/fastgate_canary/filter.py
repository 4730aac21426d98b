"""The filter: decides once a request, and tells the backend, the load balancer and the client."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import fastgate
from fastgate_canary import cookies
from fastgate_canary.assignment import chosen
from fastgate_canary.config import CanaryConfig
from fastgate_canary.places import matcher

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Decision(NamedTuple):
    canary: bool
    newcomer: str = ""  # the name that the client gets by Set-Cookie; "" when it needs none


class Canary(fastgate.Filter[CanaryConfig]):
    """Sends a share of the users, always the same ones, to a new version."""

    def __init__(self, config: CanaryConfig | None = None) -> None:
        """Take a key of its own: a rule may have several of these."""
        super().__init__(config)
        self._decision = fastgate.StateKey[_Decision]("canary")
        self._runs_canary = matcher(self.config.endpoints)

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        """Decide, and tell the backend."""
        decision = self._decide(request)
        context[self._decision] = decision
        context.log["canary"] = decision.canary
        context.count("canary_requests" if decision.canary else "stable_requests")
        if (forward := self.config.forward) is not None:
            request.headers[forward.header] = forward.canary if decision.canary else forward.stable

    async def on_upstream(
        self, request: fastgate.Request, context: fastgate.Context, endpoints: Sequence[fastgate.Endpoint]
    ) -> fastgate.Endpoint | None:
        """Choose an endpoint of the decided side by weight; None when there is none, or no other side."""
        decision = context.get(self._decision)
        if not self.config.endpoints or decision is None:
            return None
        side = [
            one for one in endpoints if one.weight > 0 and self._runs_canary(one.address, one.port) == decision.canary
        ]
        if not side or len(side) == len(endpoints):
            return None
        return random.choices(side, [one.weight for one in side])[0]  # noqa: S311 - balances load

    async def on_response(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> None:
        """Name newcomers, and tell caches what the response depends on."""
        self._vary(response.headers)
        decision = context.get(self._decision)
        if decision is not None and decision.newcomer and (cookie := self.config.cookie) is not None:
            https = request.scheme == "https"
            response.headers.add("set-cookie", cookies.written(cookie, decision.newcomer, https=https))
            # RFC 9111 section 5.2.2.4: a cache may keep the response, but gives nobody else the name.
            response.headers.add("cache-control", 'no-cache="set-cookie"')

    def _decide(self, request: fastgate.Request) -> _Decision:
        config = self.config
        newcomer = ""
        user = (request.headers.get(config.header) if config.header is not None else None) or ""
        if not user and config.cookie is not None:
            known = cookies.found(request.headers.getall("cookie"), config.cookie.name)
            newcomer = "" if known else cookies.new_id()
            user = known or newcomer
        canary = bool(user) and chosen(user, config.salt, config.percentage)
        if config.override is not None:
            wish = request.headers.get(config.override.header)
            if wish in (config.override.canary, config.override.stable):
                canary = wish == config.override.canary
        return _Decision(canary, newcomer)

    def _vary(self, headers: fastgate.Headers) -> None:
        config = self.config
        names = [
            config.header,
            config.override.header if config.override else None,
            "Cookie" if config.cookie else None,
        ]
        listed = {name.strip().lower() for name in headers.get("vary", "").split(",")}
        if "*" not in listed and (
            missing := [name for name in names if name is not None and name.lower() not in listed]
        ):
            headers.add("vary", ", ".join(missing))
