"""What is wanted for a Gateway's data planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.api.fastgate import GatewayParameters
from fastgate.api.gateway import Gateway
from fastgate.api.structs import decoder_of
from fastgate.kubernetes.infrastructure.objects import Defaults, Wanted
from fastgate.translate.parameters import provisioned

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS = Defaults("registry.example/fastgate:1", "controller.example:9443")
IDENTITY = {"tls.crt": b"certificate", "tls.key": b"key", "ca.crt": b"authority"}
INSTANCE = "fastgate.dev_gateway-controller"


def gateway(name: str = "gw", **spec: Any) -> Any:
    """A Gateway as an API server has it."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    document = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-of-{name}"},
        "spec": {"gatewayClassName": "fastgate", "listeners": [listener], **spec},
    }
    return decoder_of(Gateway).decode(msgspec.json.encode(document))


def parameters(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `spec.infrastructure` of GatewayParameters sets."""
    document = {
        "apiVersion": "fastgate.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"infrastructure": said},
    }
    found: Any = decoder_of(GatewayParameters).decode(msgspec.json.encode(document))
    return provisioned(found.spec.infrastructure, {})


def wanted(source: Any = None, *ports: tuple[str, int], said: Mapping[str, Any] | None = None, **more: Any) -> Wanted:
    """What is wanted for a Gateway."""
    return Wanted(source or gateway(), ports or (("TCP", 80),), IDENTITY, INSTANCE, parameters(said or {}), **more)
