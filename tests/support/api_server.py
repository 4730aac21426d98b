"""An API server of a few lines: keeps objects, lists and watches them, and fails when told to."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
ROUTES = f"{GATEWAY_API}/httproutes"
GATEWAYS = f"{GATEWAY_API}/gateways"
LEASES = "/apis/coordination.k8s.io/v1/leases"
LISTENERS = {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}  # of a Gateway
_END = {"k8s.io/initial-events-end": "true"}


class ApiServer:
    """One server. Collections are named by the path of all namespaces.

    Attributes:
        url: where it listens.
        requests: (method, path, query) of every request, in their order.
        streams: whether it streams lists.
        faults: what the next requests whose paths contain a text are answered: (text, status, headers).
        token: that requests have to bear; None: any or none.
    """

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.peers: list[Any] = []  # the client certificate of every request
        self.streams = True
        self.faults: list[tuple[str, int, dict[str, str]]] = []
        self.token: str | None = None
        self.served: set[str] | None = None  # collections that exist; None: all
        self.expired = 0  # watches from this version on back are refused
        self._version = 100
        self._objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {}
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []  # version, collection, type, object
        self._news = asyncio.Condition()
        self._broken = 0  # grows when watches are cut
        self.watching: dict[str, int] = {}

    # --- what tests do -------------------------------------------------------------------------------------------------

    async def put(self, collection: str, name: str, namespace: str = "default", **content: Any) -> dict[str, Any]:
        """Create or replace an object."""
        place = self._objects.setdefault(collection, {})
        before = place.get((namespace, name))
        self._version += 1
        metadata = {"name": name, "resourceVersion": str(self._version), **content.pop("metadata", {})}
        if namespace:
            metadata["namespace"] = namespace
        metadata.setdefault("generation", 1)
        document = {**(before or {}), **content, "metadata": metadata}
        place[namespace, name] = document
        await self._tell(collection, "MODIFIED" if before else "ADDED", document)
        return document

    async def delete(self, collection: str, name: str, namespace: str = "default") -> None:
        document = self._objects[collection].pop((namespace, name))
        self._version += 1
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self._version)}}
        await self._tell(collection, "DELETED", document)

    async def send(self, collection: str, line: bytes) -> None:
        """Send a line of any content to those who watch."""
        self._version += 1
        await self._tell(collection, "RAW", {"raw": line.decode()})

    async def cut(self, *, forget: bool = False) -> None:
        """End every watch; with `forget` nobody can go on from where they were."""
        async with self._news:
            self._broken += 1
            if forget:
                self._version += 1
                self.expired = self._version
                self._history.clear()
            self._news.notify_all()

    def get(self, collection: str, name: str, namespace: str = "default") -> dict[str, Any]:
        return self._objects[collection][namespace, name]

    def all(self, collection: str) -> list[dict[str, Any]]:
        return list(self._objects.get(collection, {}).values())

    def asked(self, method: str, text: str) -> list[dict[str, str]]:
        """The queries of the requests of a method whose paths contain a text."""
        return [query for m, path, query in self.requests if m == method and text in path]

    # --- what clients see ----------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, dict(request.query)
        self.requests.append((request.method, path, query))
        self.peers.append(request.get_extra_info("peercert"))
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _status(401, "Unauthorized")
        for fault in self.faults:
            text, status, headers = fault
            if text in path:
                self.faults.remove(fault)
                return _status(status, headers.pop("reason", "Refused"), headers)
        if request.method == "GET":
            return await self._get(request, path, query)
        if request.method == "DELETE":
            return await self._delete(*_parsed(path))
        if request.content_type == "application/apply-patch+yaml":
            return await self._apply(*_parsed(path), await request.json(), query["fieldManager"])
        return await self._change(request, path)

    async def _get(self, request: web.Request, path: str, query: dict[str, str]) -> web.StreamResponse:
        collection, namespace, name = _parsed(path)
        if self.served is not None and collection not in self.served:
            return _status(404, "NotFound")
        if name:
            found = self._objects.get(collection, {}).get((namespace, name))
            return web.json_response(found) if found is not None else _status(404, "NotFound")
        if query.get("watch") == "true":
            return await self._watch(request, collection, query)
        items = list(self._objects.get(collection, {}).values())
        start = int(query.get("continue") or 0)
        end = start + int(query.get("limit") or len(items) or 1)
        more = {"continue": str(end)} if end < len(items) else {}
        return web.json_response(
            {"metadata": {"resourceVersion": str(self._version), **more}, "items": items[start:end]}
        )

    async def _watch(self, request: web.Request, collection: str, query: dict[str, str]) -> web.StreamResponse:
        if query.get("sendInitialEvents") and not self.streams:
            return _status(422, "Invalid")
        since = int(query.get("resourceVersion") or self._version)
        answer = web.StreamResponse()
        broken = self._broken
        await answer.prepare(request)
        if query.get("resourceVersion") and since < self.expired:
            await answer.write(_line("ERROR", {"code": 410, "message": "too old resource version"}))
            return answer
        if query.get("sendInitialEvents"):
            for document in self._objects.get(collection, {}).values():
                await answer.write(_line("ADDED", document))
            metadata = {"resourceVersion": str(self._version), "annotations": _END}
            await answer.write(_line("BOOKMARK", {"metadata": metadata}))
            since = self._version
        self.watching[collection] = self.watching.get(collection, 0) + 1
        try:
            while True:
                async with self._news:
                    while self._broken == broken and not (events := self._since(collection, since)):
                        await self._news.wait()
                    if self._broken != broken:
                        return answer
                for version, _, type_, document in events:
                    since = version
                    await answer.write(document["raw"].encode() if type_ == "RAW" else _line(type_, document))
        finally:
            self.watching[collection] -= 1

    def _since(self, collection: str, version: int) -> list[Any]:
        return [event for event in self._history if event[0] > version and event[1] == collection]

    async def _change(self, request: web.Request, path: str) -> web.StreamResponse:
        document = await request.json()
        collection, namespace, name = _parsed(path.removesuffix("/status"))
        changes = document.get("metadata", {})
        name = name or changes["name"]
        before = self._objects.get(collection, {}).get((namespace, name))
        if request.method == "POST":
            if before is not None:
                return _status(409, "AlreadyExists")
            return web.json_response(await self.put(collection, name, namespace, **document))
        if before is None:
            return _status(404, "NotFound")
        is_patch = request.method == "PATCH"
        if changes.get("resourceVersion", is_patch) not in (True, before["metadata"]["resourceVersion"]):
            return _status(409, "Conflict")
        if is_patch:
            metadata = {k: v for k, v in {**before["metadata"], **changes}.items() if k != "resourceVersion"}
            return web.json_response(await self.put(collection, name, namespace, **{**document, "metadata": metadata}))
        is_status = path.endswith("/status")
        content = {"status": document["status"]} if is_status else document
        metadata = {k: v for k, v in (before["metadata"] if is_status else changes).items() if k != "resourceVersion"}
        return web.json_response(await self.put(collection, name, namespace, **{**content, "metadata": metadata}))

    async def _apply(
        self, collection: str, namespace: str, name: str, document: dict[str, Any], manager: str
    ) -> web.Response:
        """Apply as the one manager of all fields: what is the same is no change."""
        before = self._objects.get(collection, {}).get((namespace, name))
        counted = {"uid": f"uid-{self._version}", "generation": 0, "resourceVersion": ""}
        counted |= {k: v for k, v in (before["metadata"] if before else {}).items() if k in counted}
        fields = [{"manager": manager, "operation": "Apply", "fieldsV1": _fields(document)}]
        document["metadata"]["managedFields"] = fields
        after = {**(before or {}), **document, "metadata": {**document["metadata"], **counted}}
        if after == before:
            return web.json_response(before)
        metadata = {**after["metadata"], "generation": counted["generation"] + 1 if "spec" in document else 0}
        del metadata["resourceVersion"]
        return web.json_response(await self.put(collection, name, namespace, **{**document, "metadata": metadata}))

    async def _delete(self, collection: str, namespace: str, name: str) -> web.Response:
        if (namespace, name) not in self._objects.get(collection, {}):
            return _status(404, "NotFound")
        await self.delete(collection, name, namespace)
        return _status(200, "Success")

    async def _tell(self, collection: str, type_: str, document: dict[str, Any]) -> None:
        async with self._news:
            self._history.append((self._version, collection, type_, document))
            self._news.notify_all()


@asynccontextmanager
async def api_server(tls=None):
    """Run one; over TLS with a context."""
    server = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await server.cut()
        await runner.cleanup()


def _parsed(path: str) -> tuple[str, str, str]:
    """The collection of all namespaces, the namespace and the name that a path speaks of."""
    head, inside, rest = path.partition("/namespaces/")
    if inside and "/" in rest:
        namespace, plural, *name = rest.split("/")
        return f"{head}/{plural}", namespace, name[0] if name else ""
    parts = path.split("/")
    length = 5 if parts[1] == "apis" else 4
    return "/".join(parts[:length]), "", parts[length] if len(parts) > length else ""


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a document, without values."""
    return {f"f:{key}": _fields(each) for key, each in value.items()} if isinstance(value, dict) else {}


def _line(type_: str, document: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "object": document}).encode() + b"\n"


def _status(code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": f"{reason} on purpose"}
    return web.json_response(body, status=code, headers=headers)
