"""What the stand-ins of kubelet, kube-proxy and load balancer need of the Kubernetes API: documents as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Document = dict[str, Any]

_LINE_BYTES = 16 << 20  # of one watch event
_AGAIN_SECONDS = 0.5


class ApiError(Exception):
    """What the API server refused, with its status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class _UnwellError(Exception):
    """The API server cannot answer now."""


class Api:
    """A client; `async with` it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._headers = {"Authorization": f"Bearer {user['token']}"}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._session = aiohttp.ClientSession(self._server, connector=connector, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(self, verb: str, path: str, body: Document | None = None) -> Document:
        """One that an API server answers: while there is none, or it is not well, it is asked again."""
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError, _UnwellError):
                return await self._request_once(verb, path, body)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _request_once(self, verb: str, path: str, body: Document | None) -> Document:
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with self._session.request(verb, path, data=data, headers={"Content-Type": kind}) as response:
            if response.status == 429 or response.status >= 500:
                raise _UnwellError
            answer = await response.json(content_type=None)
            if response.status >= 400:
                raise ApiError(response.status, answer.get("message", ""))
            return answer

    async def get(self, path: str) -> Document:
        return await self.request("GET", path)

    async def post(self, path: str, body: Document) -> Document:
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: Document) -> Document:
        return await self.request("PATCH", path, body)

    async def delete(self, path: str, body: Document) -> None:
        """Delete an object, or find it gone."""
        try:
            await self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def follow(self, path: str) -> AsyncIterator[tuple[str, Document | None]]:
        """Every object under a path with its UID, then each change; None when it is gone. Never ends."""
        known: set[str] = set()
        while True:
            try:
                listed = await self.get(path)
                items = {item["metadata"]["uid"]: item for item in listed["items"]}
                for uid in known - items.keys():
                    yield uid, None
                known = set(items)
                for uid, item in items.items():
                    yield uid, item
                async for event in self._watch(path, listed["metadata"]["resourceVersion"]):
                    if event["type"] == "ERROR":
                        break
                    item = event["object"]
                    uid = item["metadata"]["uid"]
                    known.add(uid)
                    yield uid, None if event["type"] == "DELETED" else item
            except (aiohttp.ClientError, ApiError, TimeoutError) as error:
                print(f"{path}: {error!r}", flush=True)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self, path: str, version: str) -> AsyncIterator[Document]:
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "3600"}
        endless = aiohttp.ClientTimeout(total=None)
        async with self._session.get(path, params=query, timeout=endless, read_bufsize=_LINE_BYTES) as response:
            async for line in response.content:
                yield json.loads(line)


def key(item: Document) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
