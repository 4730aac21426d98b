"""Keys of an issuer, and the server that publishes them."""

import asyncio
import base64
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastgate import Context, Request
from fastgate_jwt import JWT, Config

_WAYS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}
_WAYS["ES384"] = _WAYS["ES256"]


class Issuer:
    """Signs tokens."""

    def __init__(self):
        self.keys = {
            "RS256": rsa.generate_private_key(65537, 2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "ES384": ec.generate_private_key(ec.SECP384R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }

    def jwk(self, algorithm="ES256", **more):
        """A public key."""
        written = json.loads(_WAYS[algorithm].to_jwk(self.keys[algorithm].public_key()))
        written.pop("key_ops", None)
        return {**written, **more}

    def jwks(self, *algorithms):
        """A key set; a key's ID is its algorithm in lower case."""
        return {"keys": [self.jwk(one, kid=one.lower()) for one in algorithms or self.keys]}

    def pem(self, algorithm="ES256"):
        public = self.keys[algorithm].public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(self, algorithm="ES256", *, kid=..., key=None, headers=None, **claims):
        """A token that is valid for a minute; a claim that is None is left out."""
        claims = {"sub": "ada", "exp": time.time() + 60, **claims}
        claims = {name: value for name, value in claims.items() if value is not None}
        kid = algorithm.lower() if kid is ... else kid
        headers = {**({} if kid is None else {"kid": kid}), **(headers or {})}
        return jwt.encode(claims, key or self.keys[algorithm], algorithm, headers=headers)


class Published:
    """A server of one document.

    Attributes:
        document: what it answers; bytes as they are.
        seen: requests so far.
        gate: answers wait for it.
    """

    def __init__(self):
        self.document = {"keys": []}
        self.status = 200
        self.headers = ""
        self.seen = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def start(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/jwks.json"

    async def stop(self):
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        self.seen += 1
        self.asked.set()
        await self.gate.wait()
        body = self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()
        head = f"HTTP/1.1 {self.status} x\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{self.headers}\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()


@pytest.fixture(scope="session")
def issuer():
    return Issuer()


@pytest.fixture
async def published(issuer):
    server = Published()
    server.document = issuer.jwks("ES256")
    await server.start()
    yield server
    server.gate.set()
    await server.stop()


@pytest.fixture
async def running():
    """Make a filter that runs; it is stopped after the test."""
    filters = []

    async def run(**config):
        filters.append(JWT(Config.model_validate(config)))
        await filters[-1].start()
        return filters[-1]

    yield run
    for one in filters:
        await one.stop()


@pytest.fixture
def local(issuer):
    """Make a filter with the issuer's keys."""

    def make(*algorithms, **config):
        return JWT(Config.model_validate({"keys": {"inline": issuer.jwks(*algorithms)}, **config}))

    return make


@pytest.fixture
def call():
    """Send a request with a token through a filter: its answer, the request, its context."""

    async def send(one, token=None, path="/", headers=()):
        request, context = Request("GET", path, headers=headers), Context()
        if token is not None:
            request.headers.add("authorization", f"Bearer {token}")
        return await one.on_request(request, context), request, context

    return send


@pytest.fixture
def forged():
    """Make a token of parts, which nobody signed."""

    def make(header, claims, signature=b""):
        parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
        return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)

    return make
