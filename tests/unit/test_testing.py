"""The pytest plugin, used as authors of filters use it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

import fastgate
from fastgate.testing import Reply, Use


class StampConfig(BaseModel):
    header: str = "x-stamp"
    value: str = "hello"


class Stamp(fastgate.Filter[StampConfig]):
    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        request.headers.add(self.config.header, self.config.value)

    async def on_response(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> None:
        response.headers[self.config.header] = request.path


class Closed(fastgate.Filter):
    def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response:
        return fastgate.Response(403, b"closed")


def test_a_filter_between_a_client_and_a_backend(fastgate_gateway):
    gateway = fastgate_gateway(Stamp, config={"header": "x-hi"})
    gateway.backend.reply = Reply(201, b"made", {"x-from": "backend"})
    response = gateway.client.post("/a?b=c", content=b"body", headers={"x-own": "1"})
    assert (response.status_code, response.content) == (201, b"made")
    assert (response.headers["x-from"], response.headers["x-hi"]) == ("backend", "/a")
    (received,) = gateway.backend.requests
    assert (received.method, received.target, received.body) == ("POST", "/a?b=c", b"body")
    assert (received.headers["x-hi"], received.headers["x-own"]) == ("hello", "1")


async def test_the_same_from_a_test_that_is_async(fastgate_gateway):
    gateway = fastgate_gateway(Stamp)
    gateway.backend.reply = lambda received: Reply(body=received.target.encode())
    responses = [await gateway.async_client.get(path) for path in ("/a", "/b")]
    assert [response.content for response in responses] == [b"/a", b"/b"]
    assert [one.headers["x-stamp"] for one in gateway.backend.requests] == ["hello", "hello"]


@pytest.mark.parametrize("inline", [False, True])
def test_filters_in_their_order(fastgate_gateway, inline):
    uses = [Use(Stamp, {"value": value}, inline=inline) for value in "ab"]
    gateway = fastgate_gateway(*uses)
    gateway.client.get("/")
    assert gateway.backend.requests[0].headers.getall("x-stamp") == ["a", "b"]
    assert fastgate_gateway(Closed).client.get("/").status_code == 403


def test_bodies_in_chunks_reach_the_backend(fastgate_gateway):
    gateway = fastgate_gateway()
    gateway.client.put("/", content=iter([b"one", b"two"]))
    assert gateway.backend.requests[0].body == b"onetwo"
    assert gateway.client.head("/").content == b""


def test_a_configuration_that_is_refused_says_why(fastgate_gateway):
    with pytest.raises(fastgate.Error, match="header"):
        fastgate_gateway(Stamp, config={"header": 3})


def test_it_is_found_by_pytest(pytestconfig):
    assert pytestconfig.pluginmanager.get_plugin("fastgate").__name__ == "fastgate.testing"
