"""The objects of ours that an API server has, of one kind: followed by their labels."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.decoding import event_of
from fastgate.kubernetes.infrastructure.names import MANAGER
from fastgate.kubernetes.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.kubernetes.client import Client

log = logging.getLogger(__name__)

FIRST_DELAY, LAST_DELAY = 0.2, 10.0  # seconds between attempts
UNREACHED_DELAY = 1.0  # seconds at most, while nothing answers
_FORBIDDEN, _NOT_FOUND, _GONE, _MALFORMED = 403, 404, 410, 500

ObjectKey = tuple[str, str, str]  # kind, namespace, name


OWN_KINDS = {
    kind.name: kind
    for kind in (
        Kind("ServiceAccount", "", ("v1",), "serviceaccounts"),
        KINDS["Secret"],
        KINDS["Service"],
        Kind("Deployment", "apps", ("v1",), "deployments"),
        Kind("DaemonSet", "apps", ("v1",), "daemonsets"),
        Kind("PodDisruptionBudget", "policy", ("v1",), "poddisruptionbudgets"),
        Kind("HorizontalPodAutoscaler", "autoscaling", ("v2",), "horizontalpodautoscalers"),
        Kind("NetworkPolicy", "networking.k8s.io", ("v1",), "networkpolicies"),
    )
}
WORKLOADS = ("Deployment", "DaemonSet")


class Owner(msgspec.Struct, gc=False):
    """One of metadata.ownerReferences."""

    kind: str = ""
    uid: str = ""
    controller: bool | None = None


class Manager(msgspec.Struct, rename="camel", gc=False):
    """One of metadata.managedFields."""

    manager: str = ""
    operation: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw()


class Meta(msgspec.Struct, rename="camel", gc=False):
    """Metadata, as far as it matters.

    Attributes:
        managed_fields: are replaced by `applied`.
        applied: hash of the fields that are as we applied them: whoever changes one takes it from us.
        sets_replicas: whether spec.replicas is one of them.
    """

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    owner_references: list[Owner] | None = None
    deletion_timestamp: str | None = None
    managed_fields: list[Manager] | None = None
    applied: int = 0
    sets_replicas: bool = False

    def __post_init__(self) -> None:
        for each in self.managed_fields or ():
            if (each.manager, each.operation) == (MANAGER, "Apply"):
                fields = bytes(each.fields_v1)
                self.applied, self.sets_replicas = hash(fields), b'"f:replicas"' in fields
        self.managed_fields = None


class Ingress(msgspec.Struct, gc=False):
    """An address of a load balancer."""

    ip: str = ""
    hostname: str = ""


class Balancer(msgspec.Struct, gc=False):
    """status.loadBalancer of a Service."""

    ingress: list[Ingress] | None = None


class Status(msgspec.Struct, rename="camel", gc=False):
    """The status of a Service, a Deployment or a DaemonSet."""

    load_balancer: Balancer | None = None
    available_replicas: int = 0
    number_available: int = 0


class Spec(msgspec.Struct, gc=False):
    """The spec of a Service or a Deployment."""

    type: str = ""
    replicas: int | None = None
    cluster_ips: list[str] | None = msgspec.field(default=None, name="clusterIPs")


class Own(msgspec.Struct, gc=False):
    """An object of ours."""

    metadata: Meta = msgspec.field(default_factory=Meta)
    spec: Spec | None = None
    status: Status | None = None
    code: int = 0  # of an ERROR event
    message: str = ""

    @property
    def gateway(self) -> str:
        """The UID of the Gateway that controls it; "": none does."""
        owners = self.metadata.owner_references or ()
        return next((owner.uid for owner in owners if owner.controller and owner.kind == "Gateway"), "")

    @property
    def is_available(self) -> bool:
        """Whether a Pod of this Deployment or DaemonSet serves."""
        return self.status is not None and bool(self.status.available_replicas or self.status.number_available)


class _List(msgspec.Struct, gc=False):
    metadata: Meta = msgspec.field(default_factory=Meta)
    items: list[Own] = []


own_of = msgspec.json.Decoder(Own).decode
_list_of = msgspec.json.Decoder(_List).decode


class Owned:
    """Follows a kind, by label selector.

    Attributes:
        objects: by key.
        complete: set once all of them are known, or cannot be.
        on_change: called with the key of what changed.
    """

    def __init__(self, client: Client, kind: Kind, namespace: str, selector: str) -> None:
        """Follow nothing yet. Namespace "" is all of them."""
        self.objects: dict[ObjectKey, Own] = {}
        self.complete = asyncio.Event()
        self.on_change: Callable[[ObjectKey], None] = lambda _: None
        self._client = client
        self._kind = kind
        self._namespace = namespace
        self._path = kind.path(kind.versions[0], namespace)
        self._query = {"labelSelector": selector}
        self._failures = 0
        self._complaint = ""

    async def run(self) -> None:
        """Follow until cancelled. Nothing is raised for what an API server does."""
        version = ""
        while True:
            try:
                version = await self._watch(version or await self._list())
            except (ApiError, msgspec.MsgspecError) as e:
                status = e.status if isinstance(e, ApiError) else _MALFORMED
                if status:
                    version = ""
                if status in (_FORBIDDEN, _NOT_FOUND):
                    self.complete.set()  # what nobody may list holds nothing up, and is not deleted
                self._failures += 1
                self._complain(str(e))
                longest = LAST_DELAY if status else UNREACHED_DELAY
                await asyncio.sleep(min(FIRST_DELAY * 2**self._failures, longest))

    async def _list(self) -> str:
        body = await self._client.request("list", "GET", self._path, query=self._query)
        found = _list_of(body)
        objects = {self._key(each): each for each in found.items}
        changed = [key for key in {*self.objects, *objects} if self.objects.get(key) != objects.get(key)]
        self.objects = objects
        self.complete.set()
        for key in changed:
            self.on_change(key)
        return found.metadata.resource_version

    async def _watch(self, version: str) -> str:
        """Follow from a version until the server ends it; return where that stands. "": a list is needed."""
        query = {**self._query, "resourceVersion": version, "allowWatchBookmarks": "true"}
        async for line in self._client.watch(self._path, query):
            if not line:
                self._failures, self._complaint = 0, ""
                continue
            event = event_of(line)
            own = own_of(event.object)
            if event.type == "ERROR":
                if own.code == _GONE:
                    return ""
                raise ApiError(own.code, "", own.message, verb="watch", path=self._path)
            version = own.metadata.resource_version
            if event.type != "BOOKMARK":
                self.note(own, is_gone=event.type == "DELETED")
        return version

    def covers(self, key: ObjectKey) -> bool:
        """Say whether an object belongs here."""
        return key[0] == self._kind.name and self._namespace in ("", key[1])

    def note(self, own: Own, *, is_gone: bool = False) -> None:
        """Know an object as it is now."""
        key = self._key(own)
        if is_gone:
            self.objects.pop(key, None)
        elif self.objects.get(key) == own:
            return
        else:
            self.objects[key] = own
        self.on_change(key)

    def _key(self, own: Own) -> ObjectKey:
        return (self._kind.name, own.metadata.namespace, own.metadata.name)

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            log.warning("%s: %s", self._kind.full, reason)
