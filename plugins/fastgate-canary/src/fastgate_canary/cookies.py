"""The cookie that names a user (RFC 6265)."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate_canary.config import Cookie

_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")


def new_id() -> str:
    """Return the name of a user who is new: 128 random bits."""
    return secrets.token_urlsafe(16)


def found(fields: Iterable[str], name: str) -> str | None:
    """Return the user that Cookie fields name.

    Values that no gateway has given are no names. Of several cookies of the name, which different paths and domains can
    have, the first is taken, as RFC 6265 section 5.4 puts the most specific one there.
    """
    for field in fields:
        for pair in field.split(";"):
            key, equals, value = pair.partition("=")
            if equals and key.strip() == name and _ID.fullmatch(value.strip()):
                return value.strip()
    return None


def written(cookie: Cookie, user: str, *, https: bool) -> str:
    """Return the Set-Cookie field that names a user."""
    parts = [f"{cookie.name}={user}", f"Path={cookie.path}", f"SameSite={cookie.same_site}"]
    if cookie.domain is not None:
        parts.append(f"Domain={cookie.domain}")
    if cookie.max_age:
        parts.append(f"Max-Age={cookie.max_age}")
    if https if cookie.secure is None else cookie.secure:
        parts.append("Secure")
    if cookie.http_only:
        parts.append("HttpOnly")
    return "; ".join(parts)
