"""Kinds of Kubernetes itself, as far as they are read: unknown fields are no faults here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fastgate.api.base import Core, PortNumber
from fastgate.api.metadata import Metadata


class ServicePort(Core):
    """A port of a Service."""

    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    port: PortNumber
    target_port: PortNumber | str | None = None
    app_protocol: str | None = None


class ServiceSpec(Core):
    """Spec of a Service."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    ports: list[ServicePort] | None = None


class Service(Core):
    """A Service."""

    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class EndpointConditions(Core):
    """Whether an endpoint takes requests."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Core):
    """One endpoint; its addresses are interchangeable."""

    addresses: Annotated[list[str], Field(min_length=1, max_length=100)]
    conditions: EndpointConditions | None = None


class EndpointPort(Core):
    """A port of every endpoint of a slice."""

    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    port: PortNumber | None = None
    app_protocol: str | None = None


class EndpointSlice(Core):
    """An EndpointSlice."""

    api_version: Literal["discovery.k8s.io/v1"]
    kind: Literal["EndpointSlice"]
    metadata: Metadata
    address_type: Literal["IPv4", "IPv6", "FQDN"]
    endpoints: Annotated[list[Endpoint], Field(max_length=1000)] | None = None
    ports: Annotated[list[EndpointPort], Field(max_length=100)] | None = None


class Secret(Core):
    """A Secret; its data, base64 as in the document, stays out of every representation."""

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: Metadata
    type: str = "Opaque"
    data: dict[str, str] | None = Field(default=None, repr=False)


class ConfigMap(Core):
    """A ConfigMap."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[str, str] | None = None


class Namespace(Core):
    """A Namespace."""

    api_version: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: Metadata
