"""Listeners of layer 4."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastgate import ir

if TYPE_CHECKING:
    from collections.abc import Mapping

REFUSED = ir.Respond(500, "invalid_backend")


def relay(*backends: str | tuple[str | None, int], kind: str = "TCPRoute", **more: Any) -> ir.Relay:
    """A rule to these clusters, each alone or with its weight; None is a backend that cannot be used. Others are of other keys."""
    weighted = [(b, 1) if isinstance(b, str) else b for b in backends]
    return ir.Relay(
        f"{kind}/ns/r/{'-'.join(str(name) for name, _ in weighted)}", f"{kind}/ns/r", "",
        tuple(ir.WeightedBackend(weight, name, respond=None if name else REFUSED) for name, weight in weighted),
        **more,
    )  # fmt: skip


def listener(
    protocol: str, names: Mapping[str, ir.Relay], hostname: str = "", name: str = "l", **more: Any
) -> ir.Listener:
    """A listener whose server names lead to these rules; "" is every name, or of TCP the only one."""
    found = tuple(ir.ServerName(*item) for item in names.items())
    return ir.Listener(f"Gateway/ns/g/{name}", "ns/g", name, hostname, protocol, names=found, **more)


def config(
    *listeners: ir.Listener,
    clusters: tuple[ir.Cluster, ...] = (ir.Cluster("c", ir.Protocol.TCP),),
    settings: ir.Settings = ir.Settings(),
    limits: dict[str, int] | None = None,
    **more: Any,
) -> ir.Ir:
    """One socket with these listeners; without any, TCP to cluster "c"."""
    if limits:
        settings = replace(settings, limits=replace(settings.limits, **limits))
    listeners = listeners or (listener("TCP", {"": relay("c")}),)
    return ir.Ir((ir.Socket("127.0.0.1", 443, listeners, settings),), clusters, **more)
