from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from fastgate.core.filters import Call, Runner
from fastgate.plugins.context import Context, LogFields, Outcome, StateKey
from fastgate.plugins.headers import Edit, Headers, Names
from fastgate.plugins.identity import Client, TlsIdentity
from fastgate.plugins.request import Request, RequestRecord
from fastgate.plugins.response import Response
from fastgate.plugins.trace import TraceParent

_T = TypeVar("_T")

class HeadersBase:
    journal: list[Edit]
    _names: Names
    _load: Callable[[], Iterable[tuple[str, str]]] | None
    _fields: list[tuple[str, str, str]] | None
    _applied: int
    def __setitem__(self, name: str, value: str) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def add(self, name: str, value: str) -> None: ...

class RequestBase:
    journal: list[Edit]
    _record: RequestRecord
    _target: list[str] | None
    _connection: tuple[Client, TlsIdentity | None] | None
    _place: tuple[str, str, str] | None
    _headers: Headers | None
    _trailers: Headers | None
    _body: bytes | None
    @property
    def headers(self) -> Headers: ...

class ContextBase:
    filter: str
    request_id: str
    outcome: Outcome | None
    _traceparent: TraceParent | None
    _record: RequestRecord | None
    _deadline: float
    _log: LogFields | None
    @property
    def counts(self) -> dict[str, int]: ...
    @property
    def _state(self) -> dict[StateKey[Any], Any]: ...
    def _clear(self) -> None: ...

class Exchange:
    request: Request
    context: Context
    response: Response | None
    def close(self) -> None: ...
    def end_bodies(self, call: Call) -> None: ...

class StageBase:
    _exchanges: dict[int, Exchange]
    _on_request: tuple[Any, ...]
    def _entered(self, call: Call) -> Exchange: ...
    def _left(self, call: Call, exchange: Exchange) -> None: ...

class InlineRunner(Runner):
    stages: dict[int, StageBase]

def driven(awaitable: Awaitable[_T]) -> _T: ...
