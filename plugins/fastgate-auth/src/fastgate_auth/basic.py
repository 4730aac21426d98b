"""Names and passwords (RFC 7617)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from concurrent.futures import ThreadPoolExecutor

import fastgate
from fastgate_auth.config import BasicAuthConfig
from fastgate_auth.identity import tell
from fastgate_auth.passwords import Users
from fastgate_auth.verified import Verified

_LONGEST = 1024  # characters of credentials


class BasicAuth(fastgate.Filter[BasicAuthConfig]):
    """Lets requests pass that have the name of a user and its password."""

    def __init__(self, config: BasicAuthConfig | None = None) -> None:
        """Read the users; ValueError says what is wrong with them."""
        super().__init__(config)
        self._users = Users(self.config.users.value)
        self._verified = Verified(self.config.remember)
        self._threads = ThreadPoolExecutor(self.config.threads, thread_name_prefix="fastgate-auth")
        self._computing: dict[bytes, asyncio.Future[bool]] = {}  # by mark: the same credentials are computed once

    async def stop(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Verify the request's credentials."""
        fields = request.headers.getall("authorization")
        credentials = parse(fields[0]) if len(fields) == 1 else None
        if credentials is None:
            context.count("basic_missing")
            return self._challenge("a name and a password are needed\n")
        name, password = credentials
        mark = self._verified.mark(name, password)
        if mark not in self._verified:
            if mark not in self._computing and len(self._computing) >= self.config.threads + self.config.queue:
                context.count("basic_overloaded")
                return fastgate.Response(503, "too many logins\n", {"retry-after": "1"})
            if not await self._right(mark, name, password):
                context.count("basic_wrong")
                return self._challenge("the name or the password is wrong\n")
        if not self.config.forward:
            del request.headers["authorization"]
        tell(request, context, name, self.config.identity_header)
        return None

    async def _right(self, mark: bytes, name: str, password: bytes) -> bool:
        """Compute it in a thread, once for all who wait; it goes on when they are cancelled."""
        computing = self._computing.get(mark)
        if computing is None:
            loop = asyncio.get_running_loop()
            computing = loop.run_in_executor(self._threads, self._users.right, name, password)
            self._computing[mark] = computing
            computing.add_done_callback(lambda done: self._computed(mark, done))
        return await asyncio.shield(computing)

    def _computed(self, mark: bytes, done: asyncio.Future[bool]) -> None:
        del self._computing[mark]
        if not done.cancelled() and done.exception() is None and done.result():
            self._verified.add(mark)

    def _challenge(self, text: str) -> fastgate.Response:
        return fastgate.Response(401, text, {"www-authenticate": f'Basic realm="{self.config.realm}", charset="UTF-8"'})


def parse(field: str) -> tuple[str, bytes] | None:
    """Return name and password of an Authorization field, None when it has no such."""
    scheme, _, encoded = field.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _LONGEST:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(" "), validate=True).partition(b":")
        user = name.decode()
    except (binascii.Error, ValueError):
        return None
    if not colon or not user.isprintable() or any(byte < 0x20 or byte == 0x7F for byte in password):  # noqa: PLR2004
        return None  # RFC 7617 section 2: no control characters
    return user, password
