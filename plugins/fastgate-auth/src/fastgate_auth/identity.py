"""Who a request is from, and how the tables that say so are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastgate

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = fastgate.StateKey[str]("identity")


def entries(what: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Return the number, name and rest of each line `name:rest`; empty ones and those with "#" are left out.

    Raises:
        ValueError: a line is none such. The message does not quote it.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, rest = line.strip().partition(":")
        if not colon or not name or not rest:
            raise ValueError(f"{what}, line {number}: not name:hash")
        if not (name.isascii() and name.isprintable()) or name.strip() != name:
            raise ValueError(f"{what}, line {number}: a name is printable ASCII")
        yield number, name, rest


def tell(request: fastgate.Request, context: fastgate.Context, name: str, header: str | None) -> None:
    """Let the backend, the filters behind and the access log know who it is."""
    if header is not None:
        request.headers[header] = name
    context[IDENTITY] = name
    context.log["identity"] = name
