"""The node: runs Pods as processes, and answers for their logs. Stands where a kubelet and a scheduler would."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import certificates
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from kubelab import network
from kubelab.api import Api, ApiError
from kubelab.downward import NODE_NAME
from kubelab.pod import Pod, now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address
    from pathlib import Path

    from kubelab.api import Document
    from kubelab.cluster import Cluster

_PORT = 10250


class Node:
    """`images` has the command of each image, by the last part of its name without tag."""

    def __init__(self, api: Api, cluster: Cluster, images: Mapping[str, str]) -> None:
        self.api, self._cluster, self._images = api, cluster, images
        self.directory = cluster.state / "pods"
        self._pods: dict[str, Pod] = {}
        self._addresses: Iterator[IPv4Address] = network.PODS.hosts()

    async def run(self) -> None:
        """Run the Pods of the API server, for ever."""
        self.directory.mkdir(exist_ok=True)
        await self._serve_logs()
        await self._register()
        async for uid, document in self.api.follow("/api/v1/pods"):
            pod = self._pods.get(uid)
            if document is None:
                if pod:
                    pod.delete(0)
            elif "deletionTimestamp" in document["metadata"]:
                if pod:
                    pod.delete(document["metadata"].get("deletionGracePeriodSeconds", 0))
                else:
                    await self.gone(document)  # of an earlier node
            elif pod is None and document.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                self._pods[uid] = Pod(self, document)

    def entry_point(self, image: str) -> str:
        name = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
        if name not in self._images:
            raise LookupError(f"no command stands for image {image}; see --image")
        return self._images[name]

    def log(self, pod: str) -> Path:
        """Output of NAMESPACE/NAME."""
        return self.directory / f"{pod.replace('/', '.')}.log"

    async def network(self, uid: str, *, host: bool) -> network.PodNetwork:
        if host:
            return network.PodNetwork(self._cluster.namespace, network.NODE, owned=False)
        return await asyncio.to_thread(network.create_for_pod, self._cluster, uid, next(self._addresses))

    async def gone(self, document: Document) -> None:
        """Take a Pod that has ended out of the API."""
        metadata = document["metadata"]
        self._pods.pop(metadata["uid"], None)
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        with contextlib.suppress(ApiError):  # another of its name is there already
            await self.api.delete(path, body)

    async def _register(self) -> None:
        metadata = {"name": NODE_NAME, "labels": {"kubernetes.io/hostname": NODE_NAME, "kubernetes.io/os": "linux"}}
        try:
            await self.api.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        except ApiError as error:
            if error.status != 409:
                raise
        await self.api.patch(
            f"/api/v1/nodes/{NODE_NAME}", {"spec": {"taints": None}}
        )  # not ready, it says of a new one
        ready = {"type": "Ready", "status": "True", "reason": "Started", "message": ""}
        status = {
            "conditions": [{**ready, "lastHeartbeatTime": now(), "lastTransitionTime": now()}],
            "addresses": [{"type": "InternalIP", "address": network.NODE}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": _PORT}},
        }
        await self.api.patch(f"/api/v1/nodes/{NODE_NAME}/status", {"status": status})

    async def _serve_logs(self) -> None:
        """GET /containerLogs/NAMESPACE/POD/CONTAINER, as kube-apiserver asks a kubelet; the whole log, always."""

        async def logs(request: web.Request) -> web.StreamResponse:
            path = self.log(f"{request.match_info['namespace']}/{request.match_info['pod']}")
            if not path.is_file():
                raise web.HTTPNotFound
            return web.Response(body=path.read_bytes(), content_type="text/plain")

        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, network.NODE, _PORT, ssl_context=self._tls()).start()

    def _tls(self) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        path = self._cluster.state / "kubelet.pem"
        path.touch(mode=0o600)
        path.write_bytes(certificates.pem(key) + certificates.pem(certificates.issued((NODE_NAME,), key)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
