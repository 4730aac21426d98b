from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

CONTINUE: int
REPLY: int
FAILED: int
REPLACE: int
NONE: int
PHASES: tuple[str, ...]
END: int
TEXTS: dict[str, int]
RINGS_SIZE: int
RECORD_MAX: int

_Pairs: TypeAlias = Sequence[tuple[str, str]]

class Call:
    exchange: int
    stage: int
    phase: int
    deadline: float
    more: bool
    status: int
    client_port: int
    received: int
    sent: int
    duration: float
    body: bytes
    last: bool
    buffered: bool
    trailing: bool
    def __init__(self, data: bytes) -> None: ...
    def text(self, which: int) -> str: ...
    def endpoints(self) -> list[tuple[str, int, int]]: ...
    def fields(self, response: bool = False) -> list[tuple[str, str]]: ...
    def trailers(self, response: bool = False) -> list[tuple[str, str]]: ...
    def edits(
        self, response: bool = False
    ) -> list[tuple[list[tuple[str, str]], list[tuple[str, str]], list[str], str, str, int, bytes]]: ...
    def enter(self) -> None: ...
    def leave(self, position: int) -> float: ...
    def fail(self) -> None: ...
    def count(self, position: int, counts: Mapping[str, int]) -> None: ...
    def say(self, fields: Sequence[tuple[str, str]]) -> None: ...
    def reported(self, verdict: bytes) -> bytes: ...

def verdict(
    call: Call,
    outcome: int = ...,
    *,
    status: int = 0,
    replace: _Pairs = (),
    add: _Pairs = (),
    remove: Sequence[str] = (),
    target: str = "",
    authority: str = "",
    body: bytes = b"",
    endpoint: tuple[str, int] | None = None,
) -> bytes: ...
def simple_verdict(call: Call, journal: Sequence[tuple[str, str, str | bytes]]) -> bytes | None: ...

class Rings:
    def __init__(self, fd: int) -> None: ...
    def take(self) -> Call | None: ...
    def put(self, record: bytes) -> bool: ...
    def sleep(self) -> bool: ...
    def must_wake(self) -> bool: ...

def inline() -> Any: ...
