"""What the filters of one request share and say about it: state, log fields, counters, the time that is left."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload

from fastgate.core import calls
from fastgate.plugins.stale import stale
from fastgate.plugins.trace import TraceParent

if TYPE_CHECKING:
    from collections.abc import MutableMapping as Adapted


T = TypeVar("T")
D = TypeVar("D")

MOST_LOG_FIELDS = 32
LONGEST_LOG_VALUE = 1024  # characters; longer ones are cut
LONGEST_LOG_INTEGER = 1024  # bits
MOST_COUNTERS = 64

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")


class StateKey(Generic[T]):
    """The key of one piece of state, and its type.

    USER = fastgate.StateKey[User]("user")
    context[USER] = User("ada")
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Name it, for messages; two keys are different whatever their names."""
        self.name = name

    def __repr__(self) -> str:
        return f"StateKey({self.name!r})"


class LogFields(MutableMapping[str, "str | int | float | bool"]):
    """Fields that the access log's line of the request gets: names of letters, digits and "_", short plain values."""

    __slots__ = ("_changed", "_fields")

    def __init__(self) -> None:
        self._fields: dict[str, str | int | float | bool] = {}
        self._changed: dict[str, None] = {}  # names that the engine has to hear of, in their order

    def __setitem__(self, name: str, value: str | float | bool) -> None:
        if not isinstance(value, str | int | float):
            raise TypeError(f"a log field is a str, int, float or bool, not {type(value).__name__}")
        if name not in self._fields:
            _check_name("log field", name)
            if len(self._fields) >= MOST_LOG_FIELDS:
                raise ValueError(f"a request has at most {MOST_LOG_FIELDS} log fields")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"log field {name} is {value}, which JSON has no number for")
        if isinstance(value, int) and value.bit_length() > LONGEST_LOG_INTEGER:
            raise ValueError(f"log field {name} is an integer of more than {LONGEST_LOG_INTEGER} bits")
        self._changed[name] = None
        self._fields[name] = value[:LONGEST_LOG_VALUE] if isinstance(value, str) else value

    def __getitem__(self, name: str) -> str | int | float | bool:
        return self._fields[name]

    def __delitem__(self, name: str) -> None:
        del self._fields[name]
        self._changed[name] = None

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"LogFields({self._fields!r})"

    def _news(self) -> list[tuple[str, str]]:
        """What has changed since this was asked last: names, and values as JSON, "" for those that are gone."""
        changed, self._changed = self._changed, {}
        return [(name, json.dumps(self._fields[name]) if name in self._fields else "") for name in changed]


class Outcome(NamedTuple):
    """How an exchange ended.

    Attributes:
        duration: seconds since the request's head was complete.
        bytes_received: of the request's body.
        bytes_sent: of the response, its head included.
    """

    duration: float
    bytes_received: int
    bytes_sent: int


class Context(calls.ContextBase):
    """One request's surroundings. Its filters that run in the same way, all Offloaded or all Inline, share one.

    `context[KEY] = value` keeps state under a `StateKey`, `context[KEY]` and `context.get(KEY)` return it.

    Attributes:
        filter: the Filter resource that is called, `namespace/name`.
        request_id: as `Request.id`.
        counts: what `count` has added up; a gateway takes it from there when the filter's method has returned.
        outcome: how the request ended, in `on_log`; None before.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        filter: str = "",  # noqa: A002 - the word for it
        request_id: str = "",
        traceparent: TraceParent | None = None,
        deadline: float = math.inf,
        outcome: Outcome | None = None,
    ) -> None:
        """Make a context without an engine, for tests.

        Args:
            filter: see above, like the others.
            request_id: see above.
            traceparent: see above.
            deadline: on the clock of `time.monotonic`.
            outcome: see above.
        """
        self.filter = filter
        self.request_id = request_id
        self.outcome = outcome
        self._deadline = deadline
        self._traceparent = traceparent

    # --- state -------------------------------------------------------------------------------------------------------

    def __setitem__(self, key: StateKey[T], value: T) -> None:
        if not isinstance(key, StateKey):
            raise TypeError(f"the key of a state is a fastgate.StateKey, not {type(key).__name__}")
        self._state[key] = value

    def __getitem__(self, key: StateKey[T]) -> T:
        value: T = self._state[key]
        return value

    def __delitem__(self, key: StateKey[Any]) -> None:
        del self._state[key]

    def __contains__(self, key: object) -> bool:
        return key in self._state

    @overload
    def get(self, key: StateKey[T]) -> T | None: ...
    @overload
    def get(self, key: StateKey[T], default: D) -> T | D: ...
    def get(self, key: StateKey[Any], default: object = None) -> object:
        """Return the state of a key, or the default when there is none."""
        return self._state.get(key, default)

    # --- what is said about the request ------------------------------------------------------------------------------

    @property
    def log(self) -> LogFields:
        """Fields of the request's line in the access log: `context.log["user"] = "ada"`."""
        if self._log is None:
            self._log = LogFields()
        return self._log

    def count(self, name: str, n: int = 1) -> None:
        """Add to the counter `name` of this filter."""
        counts = self.counts
        if name not in counts:
            _check_name("counter", name)
            if len(counts) >= MOST_COUNTERS:
                raise ValueError(f"a request counts at most {MOST_COUNTERS} names")
        if n < 0 or n != int(n):
            raise ValueError(f"a counter only goes up, by whole numbers: not by {n!r}")
        counts[name] = counts.get(name, 0) + n

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines name the Filter and the request."""
        return _Logger(logging.getLogger("fastgate.filter"), {"filter": self.filter, "request": self.request_id})

    @property
    def traceparent(self) -> TraceParent | None:
        """Where in which trace the request came from, whatever filters made of its header; None when it did not say."""
        if self._record is not None:
            values = [value for name, value in self._record.fields() if name.lower() == "traceparent"]
            self._traceparent = TraceParent.parse(values[0]) if len(values) == 1 else None
            self._record = None
        return self._traceparent

    @property
    def remaining(self) -> float:
        """Seconds until the call has to be over, `math.inf` in tests; never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def _close(self) -> None:
        """Refuse every further use, and let go of the state."""
        self._clear()
        self.__class__ = _Stale


class _Logger(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: Adapted[str, Any]) -> tuple[Any, Adapted[str, Any]]:
        extra = dict(self.extra or {})
        named = " ".join(str(extra[key]) for key in ("filter", "request") if extra[key])
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return (f"{named}: {msg}" if named else msg), kwargs


_Stale = stale(Context)


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"the name of a {what} is at most 64 letters, digits and '_', not {str(name)[:80]!r}")
