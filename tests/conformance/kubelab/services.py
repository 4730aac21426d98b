"""Services: kube-proxy and a load balancer in one. Connections to a Service's addresses go to its ready endpoints, by nftables.

Every (address, protocol, port) of a Service is an element of one map, whose verdict is a chain that picks an endpoint. Only what
changed is written, so that thousands of Services cost nothing while they stay. A flow keeps the endpoint that it began with.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from kubelab import network
from kubelab.api import ApiError, key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kubelab.api import Api, Document

_GATHER_SECONDS = 0.02  # changes that come together are written together
_OWNER = "kubernetes.io/service-name"

TABLE = """
table ip services {
    map frontends {
        type ipv4_addr . inet_proto . inet_service : verdict
    }
    set endpoints {
        type ipv4_addr . ipv4_addr
    }
    chain prerouting {
        type nat hook prerouting priority dstnat
        ip daddr . meta l4proto . th dport vmap @frontends
    }
    chain output {
        type nat hook output priority -100
        ip daddr . meta l4proto . th dport vmap @frontends
    }
    chain postrouting {
        type nat hook postrouting priority srcnat
        ip saddr . ip daddr @endpoints masquerade comment "a Pod that reaches itself by way of its Service"
    }
}
"""


class Frontend(NamedTuple):
    """Where a Service is reached."""

    address: str
    protocol: str
    port: int


class Backend(NamedTuple):
    """Where an endpoint is."""

    address: str
    port: int


Rules = dict[Frontend, tuple[Backend, ...]]


def rules(services: Iterable[Document], slices: dict[str, list[Document]]) -> Rules:
    """What is reached where; `slices` are EndpointSlices by Service. Frontends without endpoints are left out."""
    found: Rules = {}
    for service in services:
        mine = slices.get(key(service), ())
        for port in service["spec"].get("ports", ()):
            backends = tuple(sorted(_backends(port.get("name", ""), mine)))
            if backends:
                found.update((frontend, backends) for frontend in _frontends(service, port))
    return found


def _frontends(service: Document, port: Document) -> Iterator[Frontend]:
    protocol = port.get("protocol", "TCP").lower()
    spec = service["spec"]
    addresses = [spec.get("clusterIP", ""), *spec.get("externalIPs", ())]
    addresses += [each.get("ip", "") for each in service.get("status", {}).get("loadBalancer", {}).get("ingress", ())]
    for address in addresses:
        if address not in ("", "None"):
            yield Frontend(address, protocol, port["port"])
    if "nodePort" in port:
        yield Frontend(network.NODE, protocol, port["nodePort"])


def _backends(name: str, slices: Iterable[Document]) -> set[Backend]:
    return {
        Backend(address, port["port"])
        for each in slices
        if each["addressType"] == "IPv4"
        for port in each.get("ports") or ()
        if (port.get("name") or "") == name
        for endpoint in each.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready") is not False
        for address in endpoint["addresses"]
    }


def script(old: Rules, new: Rules) -> str:
    """Commands for nft that turn one set of rules into another; empty if they are the same."""
    lines = []
    was, now = ({b.address for backends in each.values() for b in backends} for each in (old, new))
    lines += [f"add element ip services endpoints {{ {address} . {address} }}" for address in sorted(now - was)]
    lines += [f"delete element ip services endpoints {{ {address} . {address} }}" for address in sorted(was - now)]
    for frontend in old.keys() - new.keys():
        element = _element(frontend)
        lines += [
            f"delete element ip services frontends {{ {element} }}",
            f"delete chain ip services {_chain(frontend)}",
        ]
    for frontend in sorted(new):
        backends = new[frontend]
        if old.get(frontend) == backends:
            continue
        chain = _chain(frontend)
        targets = ", ".join(f"{i} : {b.address} . {b.port}" for i, b in enumerate(backends))
        pick = f"numgen random mod {len(backends)} map {{ {targets} }}"
        lines += [
            f"add chain ip services {chain}",
            f"flush chain ip services {chain}",
            f"add rule ip services {chain} meta l4proto {frontend.protocol} dnat ip to {pick}",
        ]
        if frontend not in old:
            lines.append(f"add element ip services frontends {{ {_element(frontend)} : goto {chain} }}")
    return "".join(f"{line}\n" for line in lines)


def _element(frontend: Frontend) -> str:
    return f"{frontend.address} . {frontend.protocol} . {frontend.port}"


def _chain(frontend: Frontend) -> str:
    return f"to-{hashlib.sha256(_element(frontend).encode()).hexdigest()[:16]}"


class Proxy:
    """Follows Services and EndpointSlices, and keeps the rules."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._services: dict[str, Document] = {}
        self._slices: dict[str, Document] = {}
        self._changed = asyncio.Event()
        self._rules: Rules = {}

    async def run(self) -> None:
        """Write rules and load balancers' addresses, for ever."""
        await _nft(TABLE)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow("/api/v1/services", self._services))
            tasks.create_task(self._follow("/apis/discovery.k8s.io/v1/endpointslices", self._slices))
            tasks.create_task(self._write())

    async def _follow(self, path: str, objects: dict[str, Document]) -> None:
        async for uid, item in self._api.follow(path):
            if item is None:
                objects.pop(uid, None)
            else:
                objects[uid] = item
            self._changed.set()

    async def _write(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._changed.clear()
            await self._give_addresses()
            slices: dict[str, list[Document]] = defaultdict(list)
            for each in self._slices.values():
                if owner := each["metadata"].get("labels", {}).get(_OWNER):
                    slices[f"{each['metadata']['namespace']}/{owner}"].append(each)
            new = rules(self._services.values(), slices)
            if commands := script(self._rules, new):
                await _nft(commands)
            self._rules = new

    async def _give_addresses(self) -> None:
        """One for each Service of type LoadBalancer without a class: the one that it asks for, or any that is free."""
        balanced = [s for s in self._services.values() if s["spec"].get("type") == "LoadBalancer"]
        taken = {i.get("ip") for s in balanced for i in s.get("status", {}).get("loadBalancer", {}).get("ingress", ())}
        free = (str(address) for address in network.LOAD_BALANCERS.hosts() if str(address) not in taken)
        for service in balanced:
            if service["spec"].get("loadBalancerClass") or service.get("status", {}).get("loadBalancer", {}).get(
                "ingress"
            ):
                continue
            wanted = service["spec"].get("loadBalancerIP")
            status: dict[str, Any] = {"loadBalancer": {"ingress": [{"ip": wanted or next(free)}]}}
            namespace, name = key(service).split("/")
            path = f"/api/v1/namespaces/{namespace}/services/{name}/status"
            try:
                answer = await self._api.patch(path, {"status": status})
            except ApiError as error:
                if error.status != 404:
                    raise
            else:
                self._services[service["metadata"]["uid"]] = answer


async def _nft(commands: str) -> None:
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate(commands.encode())
    if process.returncode:
        raise RuntimeError(f"nft: {errors.decode()}")
