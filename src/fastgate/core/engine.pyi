"""Types of the compiled module: the engine and its statistics."""

from mmap import mmap
from typing import Any, TypeAlias

_Series: TypeAlias = tuple[str, str, list[int], list[int], int, int, int]
_Filter: TypeAlias = tuple[str, int, list[int], int, list[int], int, list[tuple[str, int]]]
_Listener: TypeAlias = tuple[str, dict[str, Any]]

def run(
    control_fd: int,
    stats_fd: int,
    log_fd: int,
    *,
    adopt_fd: int = -1,
    worker: int = 0,
    workers: int = 1,
    orphan_timeout: int = 60000,
    memory_limit: int = 0,
    build: bytes = b"",
) -> int: ...
def stats_size() -> int: ...
def counters() -> list[tuple[str, str, str]]: ...
def latency_bounds() -> list[int]: ...
def filter_errors() -> list[str]: ...
def is_stats(slab: bytes | mmap) -> bool: ...
def pulse(slab: bytes | bytearray | memoryview | mmap) -> tuple[int, bool]: ...
def read_stats(
    slab: bytes | mmap,
) -> tuple[int, dict[str, int], list[int], list[int], list[_Series], list[_Filter], list[_Listener]]: ...
