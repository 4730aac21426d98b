"""Statuses of BackendTLSPolicies, for every Gateway that reaches a target of theirs (GEP-713, GEP-1897).

TLS to backends is not served yet: a policy that is sound is not accepted either, and `backends` keeps its targets from
being spoken to in plaintext.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fastgate.translate.authorities import Refused, TrustAnchors
from fastgate.translate.backends import KINDS
from fastgate.translate.conditions import (
    GROUP,
    Condition,
    Name,
    ParentRef,
    ParentStatus,
    PolicyStatus,
    fails,
    holds,
)
from fastgate.translate.precedence import age

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.store import Store
    from fastgate.translate.backends import Target
    from fastgate.translate.layer4 import PlacedLayer4Route
    from fastgate.translate.placement import PlacedRoute

KIND = "BackendTLSPolicy"
_MAX_ANCESTORS = 16  # of the CRD

_Section = tuple["Target", str]  # a target and the name of its port, "" for all of them


class BackendTLSPolicies:
    """The policies of a store, and which of their targets belong to older ones."""

    def __init__(self, store: Store, anchors: TrustAnchors) -> None:
        self._store = store
        self._anchors = anchors
        self._owners: dict[_Section, Any] = {}
        self._policies = sorted(store.list(KIND), key=_age)
        for policy in self._policies:
            for section in _sections(policy):
                self._owners.setdefault(section, policy)

    def statuses(self, routes: Iterable[PlacedRoute | PlacedLayer4Route]) -> dict[Name, PolicyStatus]:
        """Return the status of every policy that some Gateway has to do with."""
        gateways = self._gateways(routes) if self._policies else {}
        found: dict[Name, PolicyStatus] = {}
        for policy in self._policies:
            sections: dict[Name, list[_Section]] = defaultdict(list)
            for section in _sections(policy):
                for gateway in gateways.get(section, ()):
                    sections[gateway].append(section)
            if sections:
                name = (policy.metadata.namespace, policy.metadata.name)
                found[name] = self._status(policy, sections)
        return dict(sorted(found.items()))

    def missing(self) -> Iterable[tuple[Any, int, str]]:
        """Say which targets are no backends, which no Gateway reports: (policy, index of the targetRef, message)."""
        for policy in self._policies:
            for index, ref in enumerate(policy.spec.target_refs):
                namespace = policy.metadata.namespace
                if (ref.group, ref.kind) not in KINDS:
                    yield policy, index, f"{ref.group or 'core'}/{ref.kind} is not a kind of backend that is supported"
                elif self._store.get(ref.kind, namespace, ref.name) is None:
                    yield policy, index, f"{ref.kind} {namespace}/{ref.name} does not exist"

    def _status(self, policy: Any, sections: dict[Name, list[_Section]]) -> PolicyStatus:
        generation = policy.metadata.generation or 0
        resolved, refusal = self._resolved(policy, generation)
        ancestors = []
        for gateway in sorted(sections)[:_MAX_ANCESTORS]:
            owners = [self._owners[section] for section in sections[gateway]]
            if all(owner is not policy for owner in owners):
                older = f"{owners[0].metadata.namespace}/{owners[0].metadata.name}"
                accepted = fails("Accepted", generation, "Conflicted", f"the target belongs to {older}, which is older")
            else:
                accepted = fails("Accepted", generation, *refusal)
            ref = ParentRef(GROUP, "Gateway", *gateway, None, None)
            ancestors.append(ParentStatus(ref, (accepted, resolved)))
        return PolicyStatus(tuple(ancestors))

    def _resolved(self, policy: Any, generation: int) -> tuple[Condition, tuple[str, str]]:
        """Return ResolvedRefs, and why the policy is not accepted: a reason and a message."""
        refs = policy.spec.validation.ca_certificate_refs or ()
        found = [self._anchors.resolve(policy.metadata.namespace, ref) for ref in refs]
        refused = [each for each in found if isinstance(each, Refused)]
        unserved = ("Invalid", "TLS to backends is not served: requests to the targets are answered with 500")
        if not refused:
            return holds("ResolvedRefs", generation, message="every reference is resolved"), unserved
        message = "; ".join(dict.fromkeys(each.message for each in refused))
        reason = "InvalidKind" if refused[0].of_kind else "InvalidCACertificateRef"
        none_left = ("NoValidCACertificate", f"no authority is left: {message}")
        resolved = fails("ResolvedRefs", generation, reason, message)
        return resolved, none_left if len(refused) == len(found) else unserved

    def _gateways(self, routes: Iterable[PlacedRoute | PlacedLayer4Route]) -> dict[_Section, dict[Name, None]]:
        """Return the Gateways from which some route leads to a backend, by the backend and by its port."""
        found: dict[_Section, dict[Name, None]] = defaultdict(dict)
        wanted = {target for target, _ in self._owners}
        for route in routes:
            for _, resolution in route.references:
                target = resolution.target
                if target not in wanted or resolution.reason == "RefNotPermitted":
                    continue
                names = dict.fromkeys(listener.gateway for listener, _ in route.reached)
                for section in ("", *self._ports(target, resolution.port)):
                    found[target, section].update(names)
        return found

    def _ports(self, target: Target, number: int | None) -> Iterable[str]:
        service = self._store.get("Service", target[0], target[3]) if target[1:3] == ("", "Service") else None
        if service is not None:
            yield from (port.name for port in service.spec.ports or () if port.port == number and port.name)


def _age(policy: Any) -> tuple[str, str, str]:
    metadata = policy.metadata
    return age(metadata.creation_timestamp, metadata.namespace, metadata.name)


def _sections(policy: Any) -> Iterable[_Section]:
    for ref in policy.spec.target_refs:
        yield (policy.metadata.namespace, ref.group, ref.kind, ref.name), ref.section_name or ""
