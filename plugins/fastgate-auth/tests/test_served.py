"""Credentials that come through a gateway, which reads the Secret."""

import hashlib

import bcrypt
import pytest

from fastgate.testing import Use
from fastgate_auth import APIKey, BasicAuth

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "known"},
    "stringData": {
        "keys": "ada:" + hashlib.sha256(b"key of ada").hexdigest(),
        "users": "ada:" + bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode(),
    },
}


@pytest.mark.parametrize("inline", [False, True])
def test_a_key(fastgate_gateway, inline):
    config = {"keys": {"name": "known", "key": "keys"}, "identityHeader": "x-user"}
    gateway = fastgate_gateway(Use(APIKey, config, inline=inline), resources=[SECRET])
    assert gateway.client.get("/", headers={"x-api-key": "key of ada", "x-user": "root"}).status_code == 200
    assert gateway.client.get("/", headers={"x-api-key": "another", "x-user": "root"}).status_code == 401
    (received,) = gateway.backend.requests
    assert received.headers["x-user"] == "ada"
    assert "x-api-key" not in received.headers


def test_a_password(fastgate_gateway):
    config = {"users": {"name": "known", "key": "users"}, "identityHeader": "x-user"}
    gateway = fastgate_gateway(BasicAuth, config=config, resources=[SECRET])
    for _ in range(3):
        assert gateway.client.get("/", auth=("ada", "password")).status_code == 200
    assert gateway.client.get("/", auth=("ada", "wrong")).status_code == 401
    assert [received.headers["x-user"] for received in gateway.backend.requests] == ["ada"] * 3
