"""Filters that are measured."""

from __future__ import annotations

import time

import fastgate


class Stamp(fastgate.Filter):
    """Sets one header."""

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        """See the class."""
        request.headers["x-stamp"] = "hello"


class Nothing(fastgate.Filter):
    """Does nothing."""

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        """See the class."""


class Burn(fastgate.Filter):
    """Keeps a core busy for 20 ms."""

    def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        """See the class."""
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
