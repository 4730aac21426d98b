"""A user who comes again, through a gateway."""

import pytest

from fastgate.testing import Use
from fastgate_canary import Canary


@pytest.mark.parametrize("inline", [False, True])
def test_a_newcomer_stays(fastgate_gateway, inline):
    config = {"percentage": 50, "cookie": {}, "forward": {"header": "x-release"}}
    gateway = fastgate_gateway(Use(Canary, config, inline=inline))
    first = gateway.client.get("/", headers={"x-release": "forged"})
    cookie = first.headers["set-cookie"].partition(";")[0]
    again = gateway.client.get("/", headers={"cookie": cookie})
    assert "set-cookie" not in again.headers
    assert first.headers["vary"] == again.headers["vary"] == "Cookie"
    (side,) = {one.headers["x-release"] for one in gateway.backend.requests}
    assert side in ("canary", "stable")
