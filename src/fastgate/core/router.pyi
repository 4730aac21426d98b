"""Types of the compiled module: the matcher."""

from collections.abc import Iterable
from typing import TypeAlias

_Request: TypeAlias = tuple[bytes, bytes, bytes, bytes, tuple[tuple[bytes, bytes], ...]]

class Batch:
    size: int
    def __init__(self, requests: Iterable[_Request]) -> None: ...

class Table:
    def __init__(self, data: bytes) -> None: ...
    @property
    def sockets(self) -> list[tuple[str, int]]: ...
    def match(self, socket: int, request: Batch) -> tuple[str, str, str, int, str, int] | None: ...
    def match_many(self, socket: int, requests: Batch, rounds: int = 1, normalize: bool = False) -> int: ...
