"""Limits of requests that come through a gateway."""

import pytest

from fastgate.testing import Use
from fastgate_ratelimit import RateLimit


@pytest.mark.parametrize("inline", [False, True])
def test_a_limit(fastgate_gateway, tmp_path, inline):
    config = {"requests": 2, "per": 3600, "store": {"type": "local", "directory": str(tmp_path)}}
    gateway = fastgate_gateway(Use(RateLimit, config, inline=inline))
    answers = [gateway.client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=1", "r=0", "r=0"]
    assert answers[0].headers["ratelimit-policy"] == '"default";q=2;w=3600'
    assert 1790 <= int(answers[2].headers["retry-after"]) <= 1800
    assert len(gateway.backend.requests) == 2
