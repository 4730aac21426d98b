"""The objects that cases make, and the API server that has them."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from fastgate.kubernetes.client import ApiError, Client
from fastgate.kubernetes.config import load

GROUP = "gateway.networking.k8s.io/v1"
NAMESPACE = "bench"
AT_ONCE = 32
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "Service": "/api/v1/namespaces/{}/services",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "Gateway": f"/apis/{GROUP}/namespaces/{{}}/gateways",
    "HTTPRoute": f"/apis/{GROUP}/namespaces/{{}}/httproutes",
    "ListenerSet": f"/apis/{GROUP}/namespaces/{{}}/listenersets",
}


class Api:
    """The API server, as its administrator."""

    def __init__(self) -> None:
        self.client = Client(load())
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def create(self, *documents: dict) -> None:
        await asyncio.gather(*map(self._create, documents))

    async def _create(self, document: dict) -> None:
        async with self._gate:
            path = PATHS[document["kind"]].format(document["metadata"].get("namespace"))
            await self.client.request("create", "POST", path, body=json.dumps(document).encode())

    async def patch(self, document: dict, *, part: dict) -> None:
        metadata = document["metadata"]
        path = f"{PATHS[document['kind']].format(metadata.get('namespace'))}/{metadata['name']}"
        body = json.dumps(part).encode()
        await self.client.request("patch", "PATCH", path, body=body, content_type="application/merge-patch+json")

    async def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict:
        return json.loads(await self.client.request("get", "GET", f"{PATHS[kind].format(namespace)}/{name}"))

    async def delete(self, kind: str, names: list[str], namespace: str = NAMESPACE) -> None:
        async def one(name: str) -> None:
            async with self._gate:
                try:
                    await self.client.request("delete", "DELETE", f"{PATHS[kind].format(namespace)}/{name}")
                except ApiError as e:
                    if e.status != 404:
                        raise

        await asyncio.gather(*map(one, names))

    async def delete_all(self, kind: str, namespace: str = NAMESPACE) -> None:
        await self.client.request("delete", "DELETE", PATHS[kind].format(namespace))

    async def close(self) -> None:
        await self.client.close()


def _metadata(name: str, namespace: str) -> dict:
    return {"name": name, "namespace": namespace}


def namespace_(name: str) -> dict:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"bench": "yes"}}}


def gateway(name: str, class_: str, namespace: str = NAMESPACE, **spec) -> dict:
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
    spec = {"gatewayClassName": class_, "listeners": [listener], **spec}
    return {"apiVersion": GROUP, "kind": "Gateway", "metadata": _metadata(name, namespace), "spec": spec}


def service(name: str, address: str, ports: dict[int, int], namespace: str = NAMESPACE) -> list[dict]:
    """A Service and its EndpointSlice; `ports` are those of the Service and of the endpoint."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(name, namespace),
            "spec": {"ports": [{"name": f"p{port}", "port": port, "targetPort": to} for port, to in ports.items()]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**_metadata(f"{name}-1", namespace), "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": f"p{port}", "port": to} for port, to in ports.items()],
        },
    ]


def route(name: str, hostname: str, rules: list[dict], namespace: str = NAMESPACE, parent: dict | None = None) -> dict:
    parent = parent or {"name": "gateway", "namespace": NAMESPACE}
    return {
        "apiVersion": GROUP,
        "kind": "HTTPRoute",
        "metadata": _metadata(name, namespace),
        "spec": {"parentRefs": [parent], "hostnames": [hostname], "rules": rules},
    }


def rule(path: str, backend: str, port: int = 80, filters: list[dict] | None = None) -> dict:
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": backend, "port": port}],
        **({"filters": filters} if filters else {}),
    }


HEADERS = [
    {"type": kind, key: {"set": [{"name": "x-bench", "value": "1"}]}}
    for kind, key in (
        ("RequestHeaderModifier", "requestHeaderModifier"),
        ("ResponseHeaderModifier", "responseHeaderModifier"),
    )
]


async def until_programmed(api: Api, name: str, limit: float = 120) -> str:
    """The address of a Gateway, once it says that it is programmed."""
    async with asyncio.timeout(limit):
        while True:
            status = (await api.get("Gateway", name)).get("status") or {}
            conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
            if conditions.get("Programmed") == "True" and status.get("addresses"):
                return status["addresses"][0]["value"]
            await asyncio.sleep(0.05)


async def until_answered(
    session: aiohttp.ClientSession, url: str, host: str, every: float = 0.005
) -> tuple[float, int]:
    """Seconds until a host is answered with 200, and how many answers were neither that nor 404."""
    loop = asyncio.get_running_loop()
    begun, others = loop.time(), 0
    while loop.time() - begun < 60:
        try:
            async with session.get(url, headers={"Host": host}) as answer:
                if answer.status == 200:
                    return loop.time() - begun, others
                others += answer.status != 404
        except aiohttp.ClientError:
            others += 1
        await asyncio.sleep(every)
    return float("inf"), others
