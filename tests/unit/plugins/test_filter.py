"""What a filter's class says about it, and what is wrong with one."""

import re
from pathlib import Path
from typing import Generic, TypeVar

import pytest
from pydantic import BaseModel, ValidationError

from fastgate import Context, Filter, NoConfig, Phase, Request, Response
from fastgate.plugins.filter import MOST_BUFFERED

C = TypeVar("C", bound=BaseModel)


class StampConfig(BaseModel):
    header: str = "x-stamp"


class Stamp(Filter[StampConfig]):
    async def on_request(self, request: Request, context: Context) -> Response | None:
        request.headers[self.config.header] = "hello"
        return None if context.remaining else Response(403, b"no")


class Required(BaseModel):
    name: str


async def test_a_filter_is_tested_by_plain_calls():
    request = Request()
    assert await Stamp().on_request(request, Context()) is None
    assert request.headers["x-stamp"] == "hello"
    assert await Stamp(StampConfig(header="x-hi")).on_request(request, Context(deadline=0)) is not None
    assert request.headers["X-Hi"] == "hello"


def test_its_phases_are_the_methods_it_overrides():
    class Whole(Stamp):
        async def start(self):
            pass

        async def on_log(self, request, context, response):
            pass

    assert (Stamp.phases(), Stamp.is_async()) == (frozenset({Phase.REQUEST}), True)
    assert Whole.phases() == {Phase.REQUEST, Phase.LOG}
    assert Filter.phases() == frozenset()
    assert [phase.value for phase in Phase] == [
        *("request", "request_body", "upstream", "response", "response_body", "local_reply", "log"),
    ]


def test_methods_may_have_parameters_of_any_name():
    class Short(Filter):
        def on_response_body(self, _request, _context, _response, *chunk_and_end):
            pass

    assert (Short.phases(), Short.is_async()) == (frozenset({Phase.RESPONSE_BODY}), False)


def test_the_model_comes_from_the_generic_argument():
    class Plain(Filter):
        def on_log(self, *arguments):
            pass

    class Nothing(Filter[None]):
        pass

    class Below(Stamp):
        pass

    class Between(Filter[C], Generic[C]):
        pass

    class Leaf(Between[Required]):
        pass

    class Mixin:
        pass

    class Mixed(Mixin, Leaf):
        pass

    assert [cls.config_model() for cls in (Filter, Plain, Nothing)] == [NoConfig] * 3
    assert [cls.config_model() for cls in (Stamp, Below)] == [StampConfig] * 2
    assert [cls.config_model() for cls in (Leaf, Mixed)] == [Required] * 2


def test_a_generic_filter_needs_an_argument():
    class Between(Filter[C], Generic[C]):
        pass

    class Forgetful(Between):
        pass

    for cls in (Between, Forgetful):
        with pytest.raises(TypeError, match=f"{cls.__name__} leaves its configuration open"):
            cls()


def test_a_filter_checks_its_configuration():
    with pytest.raises(TypeError, match="Stamp is configured by a StampConfig, not dict"):
        Stamp({"header": "x"})


def test_a_filter_without_configuration_has_all_defaults():
    class Needs(Filter[Required]):
        pass

    assert Stamp().config == StampConfig()
    with pytest.raises(ValidationError):
        Needs()


def make(name="Odd", bases=(Filter,), **members):
    return type(name, bases, members)


async def asynchronous(*arguments):
    pass


def synchronous(*arguments):
    pass


async def generator(*arguments):
    yield


def narrow(self, request):
    pass


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"on_request": asynchronous, "on_log": synchronous}, "mixes async def on_request and def on_log"),
        ({"on_request": synchronous, "start": asynchronous}, "mixes async def start and def on_request"),
        ({"on_requests": synchronous}, r"on_requests is no phase .* did you mean on_request\?"),
        ({"on_banana": synchronous}, "on_banana is no phase .* the phases are on_request, on_request_body"),
        (
            {"on_request": narrow},
            r"on_request takes \(self, request, context\), not \(self, request\)",
        ),
        ({"on_request": generator}, "is a generator"),
        ({"on_request": staticmethod(synchronous)}, "is a staticmethod"),
        ({"on_request": synchronous, "buffer_body": -1}, "buffer_body is a number of bytes"),
        ({"on_request": synchronous, "buffer_body": True}, "buffer_body is a number of bytes"),
        ({"on_request": synchronous, "buffer_body": MOST_BUFFERED + 1}, "buffer_body is at most 131072"),
        ({"on_response": synchronous, "buffer_body": 10}, "on_request gets the whole body"),
        ({"on_request": synchronous, "on_request_body": synchronous, "buffer_body": 10}, "is not called"),
    ],
)
def test_a_wrong_class_is_told_when_it_is_made(members, message):
    with pytest.raises(TypeError, match=message):
        make(**members)


def test_methods_of_parents_count():
    with pytest.raises(TypeError, match="mixes async def on_request and def on_log"):
        make(bases=(Stamp,), on_log=synchronous)


@pytest.mark.parametrize("argument", [int, "StampConfig", list[int]])
def test_the_argument_is_a_model(argument):
    with pytest.raises(TypeError, match="model"):

        class Odd(Filter[argument]):
            pass


def test_what_can_be_buffered_is_what_the_engine_buffers():
    header = (Path(__file__).parents[3] / "csrc" / "fg_phases.h").read_text()
    assert re.search(r"FG_FILTER_BODY = (\d+) \* 1024", header)[1] == str(MOST_BUFFERED // 1024)
    make(on_request=synchronous, buffer_body=MOST_BUFFERED)
