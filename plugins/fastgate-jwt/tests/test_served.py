"""Tokens that come through a gateway."""

import pytest

from fastgate.testing import Use
from fastgate_jwt import JWT


@pytest.mark.parametrize("inline", [False, True])
def test_keys_of_the_configuration(fastgate_gateway, issuer, inline):
    config = {"keys": {"inline": issuer.jwks()}, "claimsToHeaders": {"x-user": "sub"}}
    gateway = fastgate_gateway(Use(JWT, config, inline=inline))
    answer = gateway.client.get("/", headers={"authorization": f"Bearer {issuer.token()}", "x-user": "root"})
    assert answer.status_code == 200
    (received,) = gateway.backend.requests
    assert received.headers["x-user"] == "ada"
    assert "authorization" not in received.headers
    answer = gateway.client.get("/", headers={"authorization": f"Bearer {issuer.token(exp=1)}"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].endswith('error_description="the token has expired"')


async def test_keys_of_a_url(fastgate_gateway, published, issuer):
    gateway = fastgate_gateway(JWT, config={"keys": {"url": published.url}})
    for _ in range(3):
        answer = await gateway.async_client.get("/", headers={"authorization": f"Bearer {issuer.token()}"})
        assert answer.status_code == 200
    assert published.seen == 1
