"""Bodies on the wire, through a gateway."""

from contextlib import suppress

import httpx
import pytest

from fastgate.testing import Reply, Use
from fastgate_transform import JSONResponseTransform, JSONTransform

JSON = {"content-type": "application/json"}
STEPS = {"steps": [{"remove": "$..password"}]}


def test_requests_and_responses(fastgate_gateway):
    gateway = fastgate_gateway(JSONTransform, config={"request": STEPS, "response": STEPS})
    gateway.backend.reply = Reply(200, b'{"a":1.10,"password":2}', JSON | {"etag": '"x"'})
    response = gateway.client.post("/", json={"password": 1, "b": 2})
    assert gateway.backend.requests[0].body == b'{"b":2}'
    assert gateway.backend.requests[0].headers["content-length"] == "7"
    assert (response.content, response.headers["etag"]) == (b'{"a":1.10}', 'W/"x"')
    assert gateway.client.head("/").headers["etag"] == 'W/"x"'
    assert gateway.client.post("/", content=b"{", headers=JSON).status_code == 400
    assert gateway.client.post("/", content=b" " * 140_000, headers=JSON).status_code == 413
    assert len(gateway.backend.requests) == 2


@pytest.mark.parametrize("inline", [False, True])
def test_responses_of_several_pieces(fastgate_gateway, inline):
    gateway = fastgate_gateway(Use(JSONResponseTransform, STEPS, inline=inline))
    gateway.backend.reply = Reply(200, b'{"a":"' + b"x" * 120_000 + b'","password":1}', JSON)
    assert gateway.client.get("/").content == b'{"a":"' + b"x" * 120_000 + b'"}'


def test_a_response_that_is_too_long_fails_or_passes(fastgate_gateway):
    reply = Reply(200, b'{"a":"' + b"x" * 700_000 + b'","password":1}', JSON)
    gateway = fastgate_gateway(JSONResponseTransform, config=STEPS)
    gateway.backend.reply = reply
    with suppress(httpx.RemoteProtocolError):  # the head was on its way
        assert gateway.client.get("/").status_code == 500
    gateway = fastgate_gateway(JSONResponseTransform, config=STEPS | {"onInvalid": "Pass"})
    gateway.backend.reply = reply
    assert gateway.client.get("/").content == reply.body
