"""A Gateway with a route to an echo server, and fastgate on the node before it, which tests may kill."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import server
from kubelab import fastgate, implementation, network
from kubelab.cluster import until
from load import Load

GROUP = "gateway.networking.k8s.io"
BACKEND = """
import server
from http.server import ThreadingHTTPServer
ThreadingHTTPServer(("", 3000), server.Echo).serve_forever()
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "echo", "labels": {"app": "echo"}},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "echo",
                "image": "sh",
                "command": [sys.executable, "-c", BACKEND],
                "env": [{"name": "PYTHONPATH", "value": str(Path(server.__file__).parent)}],
            }
        ],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "echo"},
    "spec": {"selector": {"app": "echo"}, "ports": [{"port": 80, "targetPort": 3000}]},
}
GATEWAY = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "Gateway",
    "metadata": {"name": "gw"},
    "spec": {
        "gatewayClassName": "fastgate",
        "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        ],
    },
}


def route(name, path="/", /, **backend):
    """An HTTPRoute; `backend` changes its backendRef."""
    rule = {"matches": [{"path": {"value": path}}], "backendRefs": [{"name": "echo", "port": 80} | backend]}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [rule]},
    }


def asked(cluster, url):
    """The status of an answer in the cluster's network, or 0."""

    def ask():
        network.enter(cluster)
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    with ThreadPoolExecutor(1) as thread:  # that may leave the test's network
        return thread.submit(ask).result()


class Served:
    """A Gateway with one route, and fastgate on the node, which tests may kill."""

    def __init__(self, cluster, namespace):
        self.cluster, self.namespace = cluster, namespace
        self.subject = fastgate.on_the_node(cluster)
        implementation.apply(cluster, self.subject)
        self.started = implementation.Started(cluster, self.subject)
        namespace.apply(POD, SERVICE, GATEWAY, route("all"))
        self.address = until(self._address)
        until(lambda: self.status("/") == 200)

    def _address(self):
        addresses = self.namespace.get("gateway", "gw").get("status", {}).get("addresses", ())
        return next((each["value"] for each in addresses), "")

    def load(self):
        return Load(80, clients=4, host=self.address, enter=lambda: network.enter(self.cluster))

    def status(self, path):
        return asked(self.cluster, f"http://{self.address}{path}")

    def is_current(self, name):
        """Whether the status of a route is about its newest generation."""
        found = self.namespace.get("httproute", name)
        conditions = [c for parent in found.get("status", {}).get("parents", ()) for c in parent["conditions"]]
        return bool(conditions) and all(c["observedGeneration"] == found["metadata"]["generation"] for c in conditions)

    def restart(self):
        self.started = implementation.Started(self.cluster, self.subject)
