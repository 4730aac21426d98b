"""The cluster's network: addresses of RFC 2544, which no network routes, in namespaces of this machine.

The node routes for its Pods: each has an address of its own on a veth pair, and everything goes through the node, where Services
are translated (services.py). So a Pod sees the address of whoever calls it.
"""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from kubelab.cluster import run

if TYPE_CHECKING:
    from kubelab.cluster import Cluster

NODE = "198.18.0.1"
PODS = IPv4Network("198.18.64.0/18")
GATEWAYS = IPv4Network("198.18.200.0/24")  # for Gateways that are served on the node
LOAD_BALANCERS = IPv4Network("198.18.250.0/24")
SERVICES = IPv4Network("198.19.0.0/16")  # the first is the API server's
API_SERVICE = str(SERVICES[1])
_CLONE_NEWNET = 0x40000000  # linux/sched.h
UNUSABLE = "198.18.128.1"  # of nothing


def create(cluster: Cluster) -> None:
    """The node's namespace. Whole ranges are local to it: they can be bound, and refuse connections while nobody does."""
    run("ip", "netns", "add", cluster.namespace)
    local = "".join(
        f"route add local {network} dev lo src {NODE}\n" for network in (GATEWAYS, LOAD_BALANCERS, SERVICES)
    )
    run("ip", "-n", cluster.namespace, "-batch", "-", text=f"link set lo up\naddr add {NODE}/32 dev lo\n{local}")
    run(*cluster.inside("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"))


def enter(cluster: Cluster) -> None:
    """Move the calling thread, and no other, into the cluster's network."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{cluster.namespace}").open("rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """Namespace and address of one Pod."""

    namespace: str
    address: str
    owned: bool = True  # else the node's own, of a Pod with hostNetwork

    def remove(self) -> None:
        if self.owned:
            subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)


def create_for_pod(cluster: Cluster, uid: str, address: IPv4Address) -> PodNetwork:
    """A namespace with one interface, whose other end is the node's; the node answers for every address."""
    namespace, there = _of_pod(cluster, uid), f"pod{address.packed.hex()}"
    run("ip", "netns", "add", namespace)
    peer = f"type veth peer name eth0 netns {namespace}"
    node = f"link add {there} {peer}\nlink set {there} up\nroute add {address}/32 dev {there}\n"
    run("ip", "-n", cluster.namespace, "-batch", "-", text=node)
    pod = f"link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\n"
    pod += f"route add {NODE}/32 dev eth0 scope link\nroute add default via {NODE}\n"
    run("ip", "-n", namespace, "-batch", "-", text=pod)
    return PodNetwork(namespace, str(address))


def _of_pod(cluster: Cluster, uid: str) -> str:
    return f"{cluster.namespace}.{uid[:13]}"


def pids(cluster: Cluster, uid: str) -> list[int]:
    """The processes of a Pod."""
    return _processes(_of_pod(cluster, uid))


def all_namespaces() -> list[str]:
    """Those of every cluster of this machine, and others."""
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines()]


def namespaces(cluster: Cluster) -> list[str]:
    """Those that exist, of the node and of Pods."""
    mine = cluster.namespace
    return [name for name in all_namespaces() if name == mine or name.startswith(f"{mine}.")]


def processes(cluster: Cluster) -> list[int]:
    """Of everything that runs in them."""
    return [pid for name in namespaces(cluster) for pid in _processes(name)]


def _processes(namespace: str) -> list[int]:
    try:
        return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]
    except RuntimeError:  # its Pod has gone
        return []


def remove(cluster: Cluster) -> None:
    for name in namespaces(cluster):
        run("ip", "netns", "del", name)
