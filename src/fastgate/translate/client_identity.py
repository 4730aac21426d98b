"""Gateways that show a certificate to their backends: they reach those that speak TLS by clusters of their own.

Routes are compiled once for all Gateways, so that the clusters are exchanged where routes become virtual hosts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastgate.ir import Forward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastgate.ir import Cluster, KeyPair, Rule, ServerName, WeightedBackend


def own_key(gateway: tuple[str, str], cluster: str) -> str:
    """Return the key of a Gateway's own variant of a cluster: stable over renewals of the certificate."""
    return f"{cluster}@{'/'.join(gateway)}"


def own_cluster(gateway: tuple[str, str], cluster: Cluster, certificate: KeyPair) -> Cluster:
    """Return a Gateway's own variant of a cluster that speaks TLS."""
    tls = replace(cluster.tls, certificate=certificate.digest) if cluster.tls is not None else None
    return replace(cluster, key=own_key(gateway, cluster.key), tls=tls)


def with_own_clusters(rule: Rule, gateway: tuple[str, str], speaks_tls: Callable[[str], bool]) -> Rule:
    """Return a rule as it is at the listeners of a Gateway that shows a certificate."""
    action = rule.action
    if not isinstance(action, Forward):
        return rule
    backends = _own(action.backends, gateway, speaks_tls)
    return rule if backends == action.backends else replace(rule, action=replace(action, backends=backends))


def names_with_own_clusters(
    names: Iterable[ServerName], gateway: tuple[str, str], speaks_tls: Callable[[str], bool]
) -> tuple[ServerName, ...]:
    """Return the server names of a listener as they are at the listeners of a Gateway that shows a certificate."""
    return tuple(
        replace(name, relay=replace(name.relay, backends=_own(name.relay.backends, gateway, speaks_tls)))
        for name in names
    )


def _own(
    backends: tuple[WeightedBackend, ...], gateway: tuple[str, str], speaks_tls: Callable[[str], bool]
) -> tuple[WeightedBackend, ...]:
    return tuple(
        replace(backend, cluster=own_key(gateway, backend.cluster))
        if backend.cluster is not None and speaks_tls(backend.cluster)
        else backend
        for backend in backends
    )
