"""What the data planes of one Gateway serve."""

from __future__ import annotations

from dataclasses import dataclass

from fastgate.ir import Endpoints, Ir


@dataclass(frozen=True, slots=True)
class Share:
    """One Gateway's part of a configuration.

    Attributes:
        revision: how far the API server's changes are in it: the highest resourceVersion that its controller had heard
            of. 0: nothing is in it.
        ir: its sockets have the realm "".
        endpoints: of its clusters.
    """

    revision: int = 0
    ir: Ir = Ir()  # noqa: RUF009 - it is immutable
    endpoints: Endpoints = Endpoints()  # noqa: RUF009 - nobody changes its dictionaries
