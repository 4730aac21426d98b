"""The cases of gateway-api-bench, and one of ours: what a changed route costs among many."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.control_plane import objects as o
from benchmarks.control_plane.processes import cost, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.control_plane.inside import Subject

BACKEND = "198.18.0.1"
PORTS = {80: 18080, 8080: 18081}


async def prepare(api: o.Api, subject: Subject) -> str:
    """A Gateway and a backend; returns the Gateway's URL."""
    await api.create(o.namespace_(o.NAMESPACE))
    await api.create(*o.service("backend", BACKEND, PORTS), o.gateway("gateway", subject.class_))
    return f"http://{await o.until_programmed(api, 'gateway')}"


async def attached(api: o.Api, subject: Subject, routes: int) -> dict:
    """Routes attach to one Gateway and leave it: seconds after the last request until its status says so, and writes."""
    await prepare(api, subject)
    writes = 0
    done = asyncio.Event()
    wanted = routes
    loop = asyncio.get_running_loop()

    async def watch() -> None:
        nonlocal writes
        last = None
        while True:
            status = (await api.get("Gateway", "gateway")).get("status")
            writes += status != last and last is not None
            last = status
            if status["listeners"][0]["attachedRoutes"] == wanted:
                done.set()
            await asyncio.sleep(0.02)

    watching = asyncio.ensure_future(watch())
    generation = int((await api.get("Gateway", "gateway"))["metadata"]["resourceVersion"])
    documents = [o.route(f"r{n}", f"r{n}.example.com", [o.rule("/", "backend")]) for n in range(routes)]
    await api.create(*documents)
    last = loop.time()
    await asyncio.wait_for(done.wait(), 600)
    setup, seen = loop.time() - last, writes
    wanted = 0
    done.clear()
    await api.delete("HTTPRoute", [document["metadata"]["name"] for document in documents])
    last = loop.time()
    await asyncio.wait_for(done.wait(), 600)
    watching.cancel()
    del generation
    return {"setup s": setup, "teardown s": loop.time() - last, "status writes seen, setup": seen, "both": writes}


async def propagation(api: o.Api, subject: Subject, routes: int) -> dict:
    """One route after the other, with a rule to a backend that is not there; how long until each is served."""
    url = await prepare(api, subject)
    return await _probe(api, url, range(routes))


async def _probe(api: o.Api, url: str, numbers: range) -> dict:
    took, others = [], 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=False)) as session:
        for n in numbers:
            host = f"{n}-route.example.com"
            rules = [o.rule(f"/{n}", "backend", filters=o.HEADERS), o.rule("/", "missing", filters=o.HEADERS)]
            await api.create(o.route(f"probe-{n}", host, rules))
            seconds, wrong = await o.until_answered(session, f"{url}/{n}", host)
            took.append(seconds * 1e3)
            others += wrong
    ends = {}
    if len(took) >= 600:
        ends = {"first 300": statistics.mean(took[:300]), "last 300": statistics.mean(took[-300:])}
    return {"mean ms": statistics.mean(took), "max ms": max(took), "other answers": others, **ends}


async def change(api: o.Api, subject: Subject, rounds: int) -> dict:
    """A route flips between ports and filters every 200 ms while one client asks without pause: requests that failed."""
    url = await prepare(api, subject)
    document = o.route("flip", "flip.example.com", [o.rule("/", "backend")])
    await api.create(document)
    asked = failed = 0
    ending = False
    async with aiohttp.ClientSession() as session:
        await o.until_answered(session, url, "flip.example.com")

        async def ask() -> None:
            nonlocal asked, failed
            while not ending:
                asked += 1
                try:
                    async with session.get(url, headers={"Host": "flip.example.com"}) as answer:
                        await answer.read()
                        failed += answer.status != 200
                except aiohttp.ClientError:
                    failed += 1

        asking = asyncio.ensure_future(ask())
        for n in range(rounds):
            other = o.rule("/", "backend", 8080 if n % 2 == 0 else 80)
            if n % 2 == 0:
                other["backendRefs"][0]["filters"] = [o.HEADERS[1]]
            await api.patch(document, part={"spec": {"rules": [other]}})
            await asyncio.sleep(0.2)
        ending = True
        await asking
    return {"requests": asked, "failed": failed}


async def _fill(api: o.Api, namespaces: int, each: int) -> None:
    await api.create(*(o.namespace_(f"scale-{n}") for n in range(namespaces)))
    for n in range(namespaces):
        space = f"scale-{n}"
        made = []
        for m in range(each):
            made += o.service(f"s{m}", f"198.18.{64 + n % 60}.{m % 250 + 1}", {80: 8080}, space)
            made.append(o.route(f"r{m}", f"r{m}.{space}.example.com", [o.rule("/", f"s{m}")], space))
        await api.create(*made)


async def scale(api: o.Api, subject: Subject, routes: int, seconds: float = 60.0, probes: int = 100) -> dict:
    """Many routes and Services; then a change of a route each second and of endpoints each two: what that costs."""
    url = await prepare(api, subject)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await _fill(api, max(1, routes // 100), 100)
    last = f"r99.scale-{routes // 100 - 1}.example.com"
    await _until_routed(url, last)
    filled = loop.time() - begun
    data, control = subject.data_plane, subject.control_plane
    before = cost(data()), cost(control())
    most = [each.memory for each in before]
    ending = False

    async def jitter() -> None:
        n = 0
        while not ending:
            n += 1
            space = f"scale-{n % (routes // 100)}"
            path = o.rule(f"/v{n}", "s1")
            await api.patch(o.route("r1", "", [], space), part={"spec": {"rules": [path]}})
            if n % 2 == 0:
                slice_ = o.service("s2", "", {}, space)[1]
                address = f"198.18.70.{n % 250 + 1}"
                await api.patch(slice_, part={"endpoints": [{"addresses": [address], "conditions": {"ready": True}}]})
            for place, pids in enumerate((data(), control())):
                most[place] = max(most[place], cost(pids).memory)
            await asyncio.sleep(1.0)

    moving = asyncio.ensure_future(jitter())
    await asyncio.sleep(seconds)
    after = cost(data()), cost(control())
    result = {
        "filled s": filled,
        "data plane MiB": most[0],
        "data plane cores": (after[0].cpu - before[0].cpu) / seconds,
        "control plane MiB": most[1],
        "control plane cores": (after[1].cpu - before[1].cpu) / seconds,
    }
    probed = await _probe(api, url, range(10_000, 10_000 + probes)) if probes else {}
    ending = True
    await moving
    return result | {f"under jitter, {name}": value for name, value in probed.items()}


async def _until_routed(url: str, host: str) -> None:
    """Wait until a host is anything but unknown; its backend does not answer."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session, asyncio.timeout(900):
        while True:
            try:
                async with asyncio.timeout(2), session.get(url, headers={"Host": host}) as answer:
                    if answer.status != 404:
                        return
            except TimeoutError:
                return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def one_change(api: o.Api, subject: Subject, routes: int, changes: int = 40) -> dict:
    """CPU of all processes for each changed route, among this many."""
    url = await prepare(api, subject)
    namespaces = max(1, routes // 1000)
    await api.create(*(o.namespace_(f"many-{n}") for n in range(namespaces)))
    for n in range(namespaces):
        documents = [
            o.route(f"r{m}", f"r{m}.many-{n}.example.com", [o.rule("/", "backend")], f"many-{n}") for m in range(1000)
        ]
        await api.create(*documents)
    document = o.route("one", "one.example.com", [o.rule("/", "backend")])
    await api.create(document)
    async with aiohttp.ClientSession() as session:
        await o.until_answered(session, url, "one.example.com")
        await asyncio.sleep(2.0)
        pids = tree(subject.pid)
        before, took = cost(pids), []
        for n in range(changes):
            await api.patch(document, part={"spec": {"rules": [o.rule(f"/v{n}", "backend")]}})
            seconds, _ = await o.until_answered(session, f"{url}/v{n}", "one.example.com")
            took.append(seconds * 1e3)
            await asyncio.sleep(0.1)
        after = cost(tree(subject.pid))
    return {"CPU ms a change": (after.cpu - before.cpu) / changes * 1e3, "live after ms": statistics.median(took)}


async def listener_sets(api: o.Api, subject: Subject, sets: int, routes: int = 16) -> dict:
    """ListenerSets with a hostname each, and routes on each."""
    await api.create(o.namespace_(o.NAMESPACE))
    allowed = {"allowedListeners": {"namespaces": {"from": "All"}}}
    await api.create(*o.service("backend", BACKEND, PORTS), o.gateway("gateway", subject.class_, **allowed))
    url = f"http://{await o.until_programmed(api, 'gateway')}"
    parent = {"name": "gateway", "namespace": o.NAMESPACE}
    begun = asyncio.get_running_loop().time()
    for n in range(sets):
        listener = {"name": "http", "port": 80, "protocol": "HTTP", "hostname": f"*.s{n}.example.com"}
        spec = {"parentRef": parent, "listeners": [listener]}
        set_ = {
            "apiVersion": o.GROUP,
            "kind": "ListenerSet",
            "metadata": {"name": f"s{n}", "namespace": o.NAMESPACE},
            "spec": spec,
        }
        owner = {"kind": "ListenerSet", "group": "gateway.networking.k8s.io", "name": f"s{n}"}
        rules = [o.rule("/", "backend")]
        made = [o.route(f"s{n}-r{m}", f"r{m}.s{n}.example.com", rules, parent=owner) for m in range(routes)]
        await api.create(set_, *made)
    async with aiohttp.ClientSession() as session:
        await o.until_answered(session, url, f"r{routes - 1}.s{sets - 1}.example.com", 0.05)
    took = asyncio.get_running_loop().time() - begun
    return {
        "created and served s": took,
        "data plane MiB": cost(subject.data_plane()).memory,
        "control plane MiB": cost(subject.control_plane()).memory,
    }


CASES: dict[str, Callable] = {
    "attached": attached,
    "propagation": propagation,
    "change": change,
    "scale": scale,
    "one-change": one_change,
    "listener-sets": listener_sets,
}
SIZES = {"attached": 1000, "propagation": 3000, "change": 20, "scale": 5000, "one-change": 1000, "listener-sets": 2500}
