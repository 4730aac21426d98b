"""The key set of a URL: fetched in the background, before it ages, and when a token names a key that it lacks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
import time
from typing import TYPE_CHECKING

import httpx

from fastgate_jwt.keys import KeysError, parse_keys

if TYPE_CHECKING:
    from fastgate_jwt.config import Keys
    from fastgate_jwt.keys import KeySet

log = logging.getLogger("fastgate_jwt")

_LARGEST = 1 << 20  # bytes of a key set
_LONGEST = 24 * 3600  # seconds that keys are used, whatever their answer says
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age=\"?(\d{1,9})", re.IGNORECASE)


class RemoteKeys:
    """The keys at a URL. The last good ones are kept while it cannot be fetched.

    Attributes:
        current: None before the first fetch has succeeded.
    """

    def __init__(self, config: Keys) -> None:
        """Take the configuration; nothing is fetched before `start`."""
        self.current: KeySet | None = None
        self._config = config
        self._url = str(config.url)
        self._client: httpx.AsyncClient | None = None
        self._fetch: asyncio.Task[None] | None = None  # the one under way
        self._refresh: asyncio.Task[None] | None = None
        self._next = 0.0  # when a fetch may be made that is not due
        self._lifetime = config.lifetime

    async def start(self) -> None:
        """Begin to fetch; that the URL is down does not keep the filter from starting."""
        self._client = httpx.AsyncClient(verify=self._trust(), trust_env=False)
        self._refresh = asyncio.create_task(self._keep_fresh())

    async def stop(self) -> None:
        """End what `start` began."""
        for task in (self._refresh, self._fetch):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if self._client is not None:
            await self._client.aclose()

    async def renewed(self) -> bool:
        """Fetch the keys now, unless that was done a moment ago; return whether a fetch was made.

        All who wait share one fetch, which goes on when they are cancelled.
        """
        if self._fetch is None:
            if time.monotonic() < self._next:
                return False
            self._begin()
        assert self._fetch is not None  # noqa: S101 - it has begun
        await asyncio.shield(self._fetch)
        return True

    def _trust(self) -> ssl.SSLContext:
        authorities = self._config.ca_certificates
        if authorities is None:
            return ssl.create_default_context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=authorities.value)
        except (ssl.SSLError, TypeError, ValueError) as e:
            raise ValueError(f"keys.caCertificates: {e}") from None
        return context

    def _begin(self) -> None:
        self._next = time.monotonic() + self._config.cooldown
        self._fetch = asyncio.create_task(self._fetched())

    async def _keep_fresh(self) -> None:
        while True:
            if self._fetch is None:
                self._begin()
            assert self._fetch is not None  # noqa: S101 - it has begun
            await asyncio.shield(self._fetch)
            await asyncio.sleep(self._lifetime)

    async def _fetched(self) -> None:
        """Fetch once. What goes wrong is logged, and leaves the keys as they are."""
        try:
            async with asyncio.timeout(self._config.timeout):
                document, lifetime = await self._get()
            self.current = parse_keys(document)
            self._lifetime = min(max(self._config.minimum_lifetime, lifetime), _LONGEST)
        except (httpx.HTTPError, KeysError, TimeoutError) as e:
            self._lifetime = self._config.cooldown
            kept = "the keys stay as they are" if self.current is not None else "there are no keys yet"
            log.warning("keys of %s: %s; %s", self._url, str(e) or type(e).__name__, kept)
        finally:
            self._fetch = None

    async def _get(self) -> tuple[bytes, float]:
        """Return the document and the seconds that it may be kept."""
        assert self._client is not None  # noqa: S101 - it has started
        headers = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
        async with self._client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise KeysError(f"answered with status {response.status_code}")
            document = bytearray()
            async for piece in response.aiter_bytes():
                document += piece
                if len(document) > _LARGEST:
                    raise KeysError(f"more than {_LARGEST} bytes")
            age = _MAX_AGE.search(response.headers.get("cache-control", ""))
        return bytes(document), float(age[1]) if age else self._config.lifetime
