"""How TLS is spoken to the backends of a store, and the statuses of policies that say so (GEP-713, GEP-1897)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fastgate.translate.backends import BACKEND_GROUP, KINDS
from fastgate.translate.conditions import GROUP, Condition, Name, ParentRef, ParentStatus, PolicyStatus, fails, holds
from fastgate.translate.precedence import age
from fastgate.translate.tls_options import foreign
from fastgate.translate.upstream_tls import Barred, of_backend, of_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.ir import Authorities
    from fastgate.store import Store
    from fastgate.translate.authorities import TrustAnchors
    from fastgate.translate.backends import Section, Target
    from fastgate.translate.placements import Placements
    from fastgate.translate.upstream_tls import Judgement, Terms

KIND = "BackendTLSPolicy"
_MAX_ANCESTORS = 16  # of the CRD


class BackendTLS:
    """What the policies of a store, and its Backends themselves, ask of TLS to backends.

    `terms` is what holds for a target, or for a port of it: what is said of a port replaces what is said of the whole.
    A policy owns those of its targets that no older policy has; it replaces what a Backend says itself. Where the owner
    cannot be used, its target is barred.
    """

    def __init__(self, store: Store, anchors: TrustAnchors) -> None:
        """Judge the policies and Backends of a store, whose authorities `anchors` resolves."""
        self._store = store
        self._policies = sorted(store.list(KIND), key=_age)
        self._judged = [(policy, of_policy(policy, anchors)) for policy in self._policies]
        self._owners: dict[Section, Any] = {}
        self.terms: dict[Section, Terms] = {}
        self.authorities: list[Authorities] = []
        for policy, judged in self._judged:
            self.authorities += judged.authorities
            for section in _sections(policy):
                if self._owners.setdefault(section, policy) is policy:
                    self.terms[section] = _terms_of_policy(policy, judged)
        for backend in store.list("Backend"):
            if backend.spec.tls is not None:
                own = of_backend(backend, anchors)
                self.authorities += own.authorities
                target = (backend.metadata.namespace, BACKEND_GROUP, "Backend", backend.metadata.name)
                self.terms.setdefault((target, ""), _terms_of_backend(backend, own))

    def statuses(self, placements: Placements) -> dict[Name, PolicyStatus]:
        """Return the status of every policy that some Gateway has to do with."""
        gateways = self._gateways(placements)
        found: dict[Name, PolicyStatus] = {}
        for policy, judged in self._judged:
            sections: dict[Name, list[Section]] = defaultdict(list)
            for section in _sections(policy):
                for gateway in gateways.get(section, ()):
                    sections[gateway].append(section)
            if sections:
                name = (policy.metadata.namespace, policy.metadata.name)
                found[name] = self._status(policy, judged, sections)
        return dict(sorted(found.items()))

    def faults(self) -> Iterator[tuple[Any, tuple[str | int, ...], str, str]]:
        """Say what no Gateway reports of policies, field by field: (policy, path, reason, message)."""
        for policy, judged in self._judged:
            for index, message in self._missing(policy):
                yield policy, ("spec", "targetRefs", index), "TargetNotFound", message
            for path, message in judged.faults:
                yield policy, path, "Invalid", message

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Say what has no effect, as `Translation.warnings` do."""
        for policy in self._policies:
            for name in foreign(policy.spec.options or {}):
                place = f"{KIND}/{policy.metadata.namespace}/{policy.metadata.name}"
                yield place, f"option {name} has no effect here"

    def _missing(self, policy: Any) -> Iterator[tuple[int, str]]:
        """Say which targets of a policy are no backends: (index of the targetRef, message)."""
        for index, ref in enumerate(policy.spec.target_refs):
            namespace = policy.metadata.namespace
            if (ref.group, ref.kind) not in KINDS:
                yield index, f"{ref.group or 'core'}/{ref.kind} is not a kind of backend that is supported"
                continue
            target = self._store.get(ref.kind, namespace, ref.name)
            if target is None:
                yield index, f"{ref.kind} {namespace}/{ref.name} does not exist"
            elif ref.section_name and ref.section_name not in _port_names(target):
                yield index, f"{ref.kind} {namespace}/{ref.name} has no port of name {ref.section_name}"

    def _status(self, policy: Any, judged: Judgement, sections: dict[Name, list[Section]]) -> PolicyStatus:
        generation = policy.metadata.generation or 0
        ancestors = []
        for gateway in sorted(sections)[:_MAX_ANCESTORS]:
            owners = [self._owners[section] for section in sections[gateway]]
            if all(owner is not policy for owner in owners):
                older = f"{owners[0].metadata.namespace}/{owners[0].metadata.name}"
                accepted = fails("Accepted", generation, "Conflicted", f"the target belongs to {older}, which is older")
            else:
                accepted = _condition("Accepted", generation, judged.refusal, "TLS is spoken to the targets")
            resolved = _condition("ResolvedRefs", generation, judged.unresolved, "every reference is resolved")
            ref = ParentRef(GROUP, "Gateway", *gateway, None, None)
            ancestors.append(ParentStatus(ref, (accepted, resolved)))
        return PolicyStatus(tuple(ancestors))

    def _gateways(self, placements: Placements) -> dict[Section, dict[Name, None]]:
        """Return the Gateways from which some route leads to a backend, by the backend and by its port."""
        found: dict[Section, dict[Name, None]] = defaultdict(dict)
        wanted = {target for target, _ in self._owners}
        for key in placements.leading_to(wanted):
            route = placements.routes[key]
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


def _terms_of_policy(policy: Any, judged: Judgement) -> Terms:
    if judged.refusal is None:
        return judged.tls
    name = f"{policy.metadata.namespace}/{policy.metadata.name}"
    return Barred(f"BackendTLSPolicy {name} is not accepted: {judged.refusal[1]}")


def _terms_of_backend(backend: Any, judged: Judgement) -> Terms:
    if judged.refusal is None:
        return judged.tls
    name = f"{backend.metadata.namespace}/{backend.metadata.name}"
    return Barred(f"tls of Backend {name}: {judged.refusal[1]}", judged.refusal[0])


def _condition(type_: str, generation: int, refusal: tuple[str, str] | None, message: str) -> Condition:
    if refusal is not None:
        return fails(type_, generation, *refusal)
    return holds(type_, generation, message=message)


def _port_names(target: Any) -> list[str]:
    """Return what a sectionName may be: names of a Service's ports; a Backend has no sections."""
    return [port.name for port in getattr(target.spec, "ports", None) or ()]


def _age(policy: Any) -> tuple[str, str, str]:
    metadata = policy.metadata
    return age(metadata.creation_timestamp, metadata.namespace, metadata.name)


def _sections(policy: Any) -> Iterable[Section]:
    for ref in policy.spec.target_refs:
        yield (policy.metadata.namespace, ref.group, ref.kind, ref.name), ref.section_name or ""
