"""Bodies in messages: what may be one, and what edits make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgate.plugins.headers import Edit

UNREAD: Any = object()  # in the place of a body that has not been asked for


def checked(value: object) -> bytes:
    """Return a body, or raise."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"a body is bytes, not {type(value).__name__}")
    return bytes(value)


def replayed(body: bytes | None, journal: list[Edit]) -> bytes | None:
    """The body as the edits leave it."""
    for op, _, value in journal:
        if op == "body":
            body = checked(value)
    return body
