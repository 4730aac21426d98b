"""Keeps the objects of all Gateways' data planes as they are wanted, and takes away those that are not.

Objects are applied by the server (server-side apply): what somebody else adds, such as a number of replicas, stays. An
object that is not controlled by the Gateway is not touched, whatever its name. What is not wanted any more is deleted
once what is wanted instead of it serves.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from fastgate.kubernetes.client import APPLY, ApiError
from fastgate.kubernetes.infrastructure import names
from fastgate.kubernetes.infrastructure.objects import documents
from fastgate.kubernetes.infrastructure.owned import OWN_KINDS, WORKLOADS, Own, Owned, own_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastgate.kubernetes.client import Client
    from fastgate.kubernetes.infrastructure.objects import Defaults, Document, Wanted
    from fastgate.kubernetes.infrastructure.owned import ObjectKey
    from fastgate.translate.conditions import Name

log = logging.getLogger("fastgate")

AT_ONCE = 8  # Gateways that are attended to
FIRST_DELAY, LAST_DELAY = 0.5, 30.0  # seconds until what failed is tried again
APART = 1.0  # seconds between two looks at a Gateway that are due to changes of its objects
FORMER = "fastgate-former"  # manager of the fields that are left to whoever changes them next
_NOT_FOUND, _CONFLICT, _FORBIDDEN = 404, 409, 403


class _NotOursError(Exception):
    """Somebody else has an object of that name."""


class Provisioner:
    """Applies and deletes.

    Attributes:
        on_change: called with a Gateway whose addresses or problem changed.
        is_known: whether all Gateways of a namespace are, and their classes: only there is deleted what has none.
    """

    def __init__(
        self,
        client: Client,
        defaults: Defaults,
        may_write: Callable[[], bool],
        instance: str,
        namespaces: tuple[str, ...],
    ) -> None:
        """Do nothing yet.

        Args:
            client: of the API server.
            defaults: of all objects.
            may_write: whether this replica may, now.
            instance: tells our objects from those of other controllers; see `names.instance_of`.
            namespaces: where Gateways are; none: anywhere.
        """
        self.on_change: Callable[[Name], None] = lambda _: None
        self.is_known: Callable[[str], bool] = lambda _: False
        self._client = client
        self._defaults = defaults
        self._may_write = may_write
        selector = f"{names.MANAGED_BY}={names.MANAGER},{names.INSTANCE}={instance}"
        self._owned = [
            Owned(client, kind, namespace, selector) for kind in OWN_KINDS.values() for namespace in namespaces or ("",)
        ]
        for owned in self._owned:
            owned.on_change = self._moved
        self._wanted: dict[Name, Wanted] = {}
        self._is_told = False  # whether it was ever said what is wanted
        self._documents: dict[Name, dict[ObjectKey, Document]] = {}
        self._gateways: dict[tuple[str, str], list[Name]] = {}  # by namespace and name of their objects
        self._applied: dict[ObjectKey, tuple[Document, Own]] = {}
        self._addresses: dict[Name, tuple[tuple[str, str], ...]] = {}
        self._problems: dict[Name, str] = {}
        self._failures: dict[Name, int] = {}
        self._due: dict[Name, None] = {}
        self._busy: set[Name] = set()
        self._again: set[Name] = set()  # became due while busy
        self._postponed: set[Name] = set()
        self._kept: set[Name] = set()  # have more than is wanted until what is wanted serves
        self._sweep_due = self._sweep_postponed = False
        self._is_unsure = False  # there is something of which it is not known whether it has a Gateway
        self._news = asyncio.Event()

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def want(self, wanted: Mapping[Name, Wanted]) -> None:
        """Want these objects, and no others of ours."""
        before, self._wanted = self._wanted, dict(wanted)
        changed = [name for name, each in wanted.items() if before.get(name) != each]
        gone = before.keys() - wanted.keys()
        if not (changed or gone or self._is_unsure) and self._is_told:
            return
        for name in changed:
            found = documents(wanted[name], self._defaults) if not wanted[name].is_held else ()
            self._documents[name] = {_key(document): document for document in found}
            self._look(name)
        for name in gone:
            for known in (self._documents, self._addresses, self._problems, self._failures):
                known.pop(name, None)
        self._gateways = {}
        for name, each in wanted.items():
            self._gateways.setdefault((name[0], each.name), []).append(name)
        for name in changed:
            self._see(name)
        self._is_told = self._sweep_due = True
        self._news.set()

    def addresses(self, gateway: Name) -> tuple[tuple[str, str], ...] | None:
        """Return type and value of the addresses that a Gateway's Service has; None: there is no Service yet."""
        return self._addresses.get(gateway)

    def problem(self, gateway: Name) -> str:
        """Return why a Gateway's objects are not as they are wanted; "": they are, or are about to be."""
        return self._problems.get(gateway, "")

    def look_at_all(self) -> None:
        """Compare everything: this replica may write from now on."""
        for name in self._wanted:
            self._look(name)
        self._sweep_due = True
        self._news.set()

    async def run(self) -> None:
        """Keep everything as it is wanted, until cancelled. Nothing is raised for what an API server does."""
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for owned in self._owned:
                tasks.create_task(owned.run())
            for owned in self._owned:
                await owned.complete.wait()
            while True:
                await self._news.wait()
                self._news.clear()
                while self._due:
                    name = next(iter(self._due))
                    del self._due[name]
                    if name in self._busy:
                        self._again.add(name)
                        continue
                    self._busy.add(name)
                    await gate.acquire()
                    tasks.create_task(self._attend(name)).add_done_callback(lambda _: gate.release())
                if self._sweep_due and self._is_told and self._may_write():
                    self._sweep_due = False
                    await self._sweep()

    # --- what is there ------------------------------------------------------------------------------------------------

    def _objects(self) -> Iterator[tuple[ObjectKey, Own]]:
        for owned in self._owned:
            yield from owned.objects.items()

    def _there(self, key: ObjectKey) -> Own | None:
        return next((owned.objects[key] for owned in self._owned if key in owned.objects), None)

    def _moved(self, key: ObjectKey) -> None:
        """Take it that an object of ours is another one: by our own doing, or somebody else's."""
        gateways = self._gateways.get(key[1:], ())
        if not self._kept.isdisjoint(gateways) or not any(key in self._documents[name] for name in gateways):
            self._sweep_due = True
            self._news.set()
        for name in gateways:
            if key[0] == "Service":
                self._see(name)
        there, known = self._there(key), self._applied.get(key)
        if known is not None and (there is None or _drifted(known[1], there)):
            del self._applied[key]
            for name in gateways:
                self._postpone(name, APART)

    def _see(self, name: Name) -> None:
        """Know the addresses of a Gateway's Service."""
        wanted = self._wanted[name]
        service = self._there(("Service", wanted.gateway.metadata.namespace, wanted.name))
        before = self._addresses.get(name)
        if service is None or service.gateway != wanted.gateway.metadata.uid:
            self._addresses.pop(name, None)
        else:
            self._addresses[name] = _addresses_of(service)
        if self._addresses.get(name) != before:
            self.on_change(name)

    # --- what is done -------------------------------------------------------------------------------------------------

    def _look(self, name: Name) -> None:
        self._due[name] = None
        self._news.set()

    def _postpone(self, name: Name, seconds: float) -> None:
        if name not in self._postponed:
            self._postponed.add(name)
            asyncio.get_running_loop().call_later(seconds, self._resume, name)

    def _resume(self, name: Name) -> None:
        self._postponed.discard(name)
        self._look(name)

    async def _attend(self, name: Name) -> None:
        try:
            problem = await self._provide(name)
        finally:
            self._busy.discard(name)
            if name in self._again:
                self._again.discard(name)
                self._look(name)
        if name not in self._wanted:
            return
        if problem:
            failures = self._failures[name] = self._failures.get(name, 0) + 1
            self._postpone(name, min(FIRST_DELAY * 2**failures, LAST_DELAY))
        else:
            self._failures.pop(name, None)
            if name in self._kept:
                self._sweep_due = True
                self._news.set()
        if problem != self._problems.get(name, ""):
            self._problems[name] = problem
            if problem:
                log.warning("the data planes of Gateway %s/%s: %s", *name, problem)
            self.on_change(name)

    async def _provide(self, name: Name) -> str:
        """Apply what differs. Returns the first reason why not all of it could be."""
        problem = ""
        for key, document in list(self._documents.get(name, {}).items()):
            wanted = self._wanted.get(name)
            if wanted is None or not self._may_write():
                break
            known = self._applied.get(key)
            if known is not None and known[0] == document:
                continue
            try:
                await self._apply(key, document, wanted.gateway.metadata.uid)
            except _NotOursError as e:
                problem = problem or str(e)
            except ApiError as e:
                problem = problem or _explained(e, key)
                if not e.status:
                    break
        return problem

    async def _apply(self, key: ObjectKey, document: Document, uid: str) -> None:
        path = _path(key)
        there = self._there(key) or await self._read(path)
        if there is not None and there.gateway != uid:
            raise _NotOursError(f"{key[0]} {key[1]}/{key[2]} exists and is not of this Gateway: it is not touched")
        if there is not None and there.metadata.sets_replicas and "replicas" not in document["spec"]:
            await self._leave_replicas(path, document, there)
        own = own_of(await self._patch(path, document, {"fieldManager": names.MANAGER, "force": "true"}))
        self._applied[key] = (document, own)
        for owned in self._owned:
            if owned.covers(key):
                owned.note(own)

    async def _leave_replicas(self, path: str, document: Document, there: Own) -> None:
        """Have somebody else say how many replicas there are: what nobody says would be one."""
        replicas = there.spec.replicas if there.spec is not None else None
        head = {key: document[key] for key in ("apiVersion", "kind")}
        named = {key: document["metadata"][key] for key in ("name", "namespace")}
        await self._patch(path, {**head, "metadata": named, "spec": {"replicas": replicas}}, {"fieldManager": FORMER})

    async def _patch(self, path: str, document: Document, query: Mapping[str, str]) -> bytes:
        body = msgspec.json.encode(document)
        return await self._client.request("patch", "PATCH", path, query=query, body=body, content_type=APPLY)

    async def _read(self, path: str) -> Own | None:
        try:
            return own_of(await self._client.request("get", "GET", path))
        except ApiError as e:
            if e.status == _NOT_FOUND:
                return None
            raise

    async def _sweep(self) -> None:
        """Delete what is ours and nobody wants."""
        wanted = {key for found in self._documents.values() for key in found}
        gateways = {each.gateway.metadata.uid: name for name, each in self._wanted.items()}
        self._kept.clear()
        self._is_unsure = False
        for key, own in list(self._objects()):
            if key in wanted or not own.gateway or own.metadata.deletion_timestamp is not None:
                continue
            name = gateways.get(own.gateway)
            if name is not None and not self._serves(name):
                self._kept.add(name)
            elif name is None and not self.is_known(key[1]):
                self._is_unsure = True
            else:
                if not self._may_write():
                    return
                await self._delete(key, own)

    def _serves(self, name: Name) -> bool:
        """Say whether all is as it is wanted for a Gateway, and a Pod of it serves if there are to be any."""
        found = self._documents[name]
        if not found or any(key not in self._applied or self._applied[key][0] != each for key, each in found.items()):
            return False
        (workload,) = (key for key in found if key[0] in WORKLOADS)
        there = self._there(workload)
        return found[workload]["spec"].get("replicas") == 0 or (there is not None and there.is_available)

    async def _delete(self, key: ObjectKey, own: Own) -> None:
        condition = {"uid": own.metadata.uid, "resourceVersion": own.metadata.resource_version}
        body = msgspec.json.encode({"preconditions": condition, "propagationPolicy": "Background"})
        try:
            await self._client.request("delete", "DELETE", _path(key), body=body)
            log.info("%s %s/%s is not wanted any more and deleted", *key)
        except ApiError as e:
            if e.status not in (_NOT_FOUND, _CONFLICT):
                log.warning("%s", _explained(e, key))
                self._sweep_later()
        self._applied.pop(key, None)

    def _sweep_later(self) -> None:
        if not self._sweep_postponed:
            self._sweep_postponed = True
            asyncio.get_running_loop().call_later(LAST_DELAY, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweep_postponed = False
        self._sweep_due = True
        self._news.set()


def _path(key: ObjectKey) -> str:
    kind = OWN_KINDS[key[0]]
    return kind.path(kind.versions[0], *key[1:])


def _key(document: Document) -> ObjectKey:
    metadata = document["metadata"]
    return (document["kind"], metadata["namespace"], metadata["name"])


def _drifted(applied: Own, there: Own) -> bool:
    """Say whether somebody else changed what was applied. Statuses and fields that others add do not count."""
    before, now = applied.metadata, there.metadata
    return (before.uid, before.applied) != (now.uid, now.applied)


def _addresses_of(service: Own) -> tuple[tuple[str, str], ...]:
    """Return the addresses of a Service: a load balancer's, or those that it has in the cluster."""
    if service.spec is not None and service.spec.type != "LoadBalancer":
        return tuple(("IPAddress", address) for address in service.spec.cluster_ips or () if address != "None")
    balancer = service.status.load_balancer if service.status is not None else None
    found = balancer.ingress if balancer is not None else None
    return tuple(("IPAddress", each.ip) if each.ip else ("Hostname", each.hostname) for each in found or ())


def _explained(e: ApiError, key: ObjectKey) -> str:
    if e.status == _FORBIDDEN and " cannot " in e.message:  # RBAC; quotas, webhooks and namespaces that end forbid, too
        return f"no right to {e.verb} {OWN_KINDS[key[0]].full} in namespace {key[1]}: {e.message}"
    return f"{key[0]} {key[1]}/{key[2]}: {e.message or e.reason or 'the API server does not answer'}"
