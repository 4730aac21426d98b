"""The class that filters derive from; what is wrong with one is told when it is made, not when it is called."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastgate.plugins.context import Context
    from fastgate.plugins.identity import Endpoint
    from fastgate.plugins.request import Request
    from fastgate.plugins.response import Response

R = TypeVar("R")
MaybeAwaitable: TypeAlias = R | Awaitable[R]  # what a `def` or an `async def` returns


class NoConfig(BaseModel):
    """The configuration of a filter that takes none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


ConfigT = TypeVar("ConfigT", bound=BaseModel, default=NoConfig)


class Phase(Enum):
    """When a filter is called; in the order in which a request passes them."""

    REQUEST = "request"
    REQUEST_BODY = "request_body"
    UPSTREAM = "upstream"
    RESPONSE = "response"
    RESPONSE_BODY = "response_body"
    LOCAL_REPLY = "local_reply"
    LOG = "log"


MOST_BUFFERED = 128 * 1024  # bytes of a body; FG_FILTER_BODY of the engine

_PHASES = {f"on_{phase.value}": phase for phase in Phase}
_METHODS = ("start", "stop", *_PHASES)
_REQUIRED = object()


class Filter(Generic[ConfigT]):
    """A filter of requests and responses. Derive from it and override the methods of the phases that it takes part in.

        class Stamp(fastgate.Filter[StampConfig]):
            async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
                request.headers[self.config.header] = "hello"

    All methods of a class are `async def`, which run on one event loop and must not block; or all are `def`, which
    run in several threads. There is one instance for each Filter resource and each process that runs it.

    Class attributes:
        buffer_body: bytes of a request's body that are waited for, so that `on_request` has it as `request.body`;
            a longer one is answered with 413. 0: the body is not waited for.
        fastgate_api: the plugin API that the class needs, such as "1"; see `fastgate.PLUGIN_API`.

    Attributes:
        config: the Filter resource's configuration, validated.
    """

    buffer_body: ClassVar[int] = 0
    fastgate_api: ClassVar[str] = "1"

    _config: ClassVar[Any]  # a model, or the type variable that stands for one
    _phases: ClassVar[frozenset[Phase]] = frozenset()
    _is_async: ClassVar[bool] = False

    config: ConfigT

    def __init__(self, config: ConfigT | None = None) -> None:
        """Keep the configuration; without one, that of all defaults. What needs time or a loop belongs in `start`."""
        model = type(self).config_model()
        if config is None:
            config = model()  # type: ignore[assignment] # ConfigT is this model
        elif not isinstance(config, model):
            raise TypeError(f"{type(self).__name__} is configured by a {model.__name__}, not {type(config).__name__}")
        self.config = config  # type: ignore[assignment] # not None by now

    def __init_subclass__(cls, **options: Any) -> None:
        """Find the class's phases and its configuration's model; TypeError says what is wrong with the class."""
        super().__init_subclass__(**options)
        _check_names(cls)
        overridden = [name for name in _METHODS if getattr(cls, name) is not getattr(Filter, name)]
        kinds = {name: inspect.iscoroutinefunction(getattr(cls, name)) for name in overridden}
        if len(set(kinds.values())) > 1:
            one = next(name for name in kinds if kinds[name])
            other = next(name for name in kinds if not kinds[name])
            raise TypeError(f"{cls.__name__} mixes async def {one} and def {other}: a filter has only one of them")
        for name in overridden:
            _check_parameters(cls, name)
        cls._phases = frozenset(_PHASES[name] for name in overridden if name in _PHASES)
        cls._is_async = any(kinds.values())
        if type(cls.buffer_body) is not int or cls.buffer_body < 0:
            raise TypeError(f"{cls.__name__}.buffer_body is a number of bytes, not {cls.buffer_body!r}")
        if cls.buffer_body > MOST_BUFFERED:
            raise TypeError(f"{cls.__name__}.buffer_body is at most {MOST_BUFFERED}, not {cls.buffer_body}")
        if cls.buffer_body and (Phase.REQUEST not in cls._phases or Phase.REQUEST_BODY in cls._phases):
            raise TypeError(
                f"{cls.__name__} has buffer_body: on_request gets the whole body as request.body, and on_request_body,"
                " which is for bodies that stream, is not called"
            )
        cls._config = _config_argument(cls)

    @classmethod
    def config_model(cls) -> type[BaseModel]:
        """Return the model of the configuration: the argument of `Filter[...]`, NoConfig without one."""
        if isinstance(cls._config, type):
            return cls._config
        if cls is Filter:
            return NoConfig
        raise TypeError(f"{cls.__name__} leaves its configuration open: it has to give a model to its generic base")

    @classmethod
    def phases(cls) -> frozenset[Phase]:
        """Return the phases that the class takes part in: those whose methods it overrides."""
        return cls._phases

    @classmethod
    def is_async(cls) -> bool:
        """Return whether the class's methods are `async def`."""
        return cls._is_async

    # --- what authors override; none of these is ever called ---------------------------------------------------------

    def start(self) -> MaybeAwaitable[None]:
        """Begin: open pools, start tasks. Called once, before any request, on the loop that runs the filter."""

    def stop(self) -> MaybeAwaitable[None]:
        """End: close what `start` opened. Called once, after the last request. New configuration is a new instance."""

    def on_request(self, request: Request, context: Context) -> MaybeAwaitable[Response | None]:
        """See a request's head, and edit it. A Response answers the request, which then goes nowhere."""
        raise NotImplementedError

    def on_request_body(
        self, request: Request, context: Context, chunk: bytes, end: bool
    ) -> MaybeAwaitable[bytes | None]:
        """See a piece of a request's body; the last one has `end`, and may be empty.

        Return what is sent in its place: None leaves it as it is, b"" drops it.
        """
        raise NotImplementedError

    def on_upstream(
        self, request: Request, context: Context, endpoints: Sequence[Endpoint]
    ) -> MaybeAwaitable[Endpoint | None]:
        """Choose one of the endpoints that the request may be sent to. None leaves it to the load balancer."""
        raise NotImplementedError

    def on_response(self, request: Request, context: Context, response: Response) -> MaybeAwaitable[Response | None]:
        """See the head of the backend's response, and edit it. A Response takes its place."""
        raise NotImplementedError

    def on_response_body(
        self, request: Request, context: Context, response: Response, chunk: bytes, end: bool
    ) -> MaybeAwaitable[bytes | None]:
        """See a piece of a response's body; as `on_request_body`."""
        raise NotImplementedError

    def on_local_reply(self, request: Request, context: Context, response: Response) -> MaybeAwaitable[Response | None]:
        """See an answer of the gateway's own, a 4xx or 5xx, and edit it; `response.reason` says why it is given.

        A Response takes its place. Answers of filters are not among them.
        """
        raise NotImplementedError

    def on_log(self, request: Request, context: Context, response: Response) -> MaybeAwaitable[None]:
        """See how a request ended, once it has: for logs and counters of one's own. Nothing can be edited any more."""
        raise NotImplementedError


Filter._config = ConfigT  # noqa: SLF001 - see there


def _check_names(cls: type[Filter[Any]]) -> None:
    for name, value in vars(cls).items():
        if not name.startswith("on_") or not callable(getattr(value, "__func__", value)):
            continue
        if name not in _PHASES:
            near = get_close_matches(name, _PHASES, n=1)
            meant = f"did you mean {near[0]}?" if near else f"the phases are {', '.join(_PHASES)}"
            raise TypeError(f"{cls.__name__}.{name} is no phase and would never be called: {meant}")
        if isinstance(value, staticmethod | classmethod):
            raise TypeError(f"{cls.__name__}.{name} is a {type(value).__name__}: phases are methods of an instance")


def _check_parameters(cls: type[Filter[Any]], name: str) -> None:
    method = getattr(cls, name)
    expected = list(inspect.signature(getattr(Filter, name)).parameters)
    try:
        inspect.signature(method).bind(*expected)
    except TypeError:
        raise TypeError(
            f"{cls.__name__}.{name} takes ({', '.join(expected)}), not {inspect.signature(method)}"
        ) from None
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise TypeError(f"{cls.__name__}.{name} is a generator: a phase returns its result")


def _config_argument(cls: type[Filter[Any]]) -> Any:
    """The model that a class gives to `Filter[...]`, itself or by the generic classes between."""
    for base in vars(cls).get("__orig_bases__", ()):
        origin = get_origin(base)
        if not isinstance(origin, type) or not issubclass(origin, Filter):
            continue
        variable = origin._config  # noqa: SLF001 - of the same family
        if isinstance(variable, type):
            return variable
        parameters: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        argument = get_args(base)[parameters.index(variable)]
        if argument is None or argument is type(None):
            return NoConfig
        if isinstance(argument, type) and not issubclass(argument, BaseModel):
            raise TypeError(f"{cls.__name__}: {argument.__name__} is not a pydantic model")
        if not isinstance(argument, type | TypeVar):
            raise TypeError(f"{cls.__name__}: Filter[...] needs the model itself, not {argument!r}")
        return argument
    parent = next(base for base in cls.__bases__ if issubclass(base, Filter))
    return NoConfig if parent is Filter else parent._config  # noqa: SLF001 - likewise
