"""TLSRoute, TCPRoute and UDPRoute (apis/v1/{tls,tcp,udp}route_types.go), v1.7.0.

v1 is the standard channel's. The deprecated versions, of the experimental channel, are read too: v1alpha3 is v1 by
another name, v1alpha2 allows a TLSRoute without hostnames and up to 16 rules.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fastgate.api.base import Hostname, Model, SectionName, fault
from fastgate.api.metadata import Metadata
from fastgate.api.routes import BackendRef, ParentReferences, check_parent_refs, check_rule_names


def _is_ip(hostname: str) -> bool:
    try:
        ipaddress.ip_address(hostname)
    except ValueError:
        return False
    return True


def _no_addresses(hostnames: list[str]) -> list[str]:
    if any(_is_ip(hostname) for hostname in hostnames):
        raise fault("Hostnames cannot contain an IP")
    return hostnames


class Layer4Rule(Model):
    """Where connections or datagrams go."""

    name: SectionName | None = None
    backend_refs: Annotated[list[BackendRef], Field(min_length=1, max_length=16)]


OneRule = Annotated[list[Layer4Rule], Field(min_length=1, max_length=1)]
SeveralRules = Annotated[list[Layer4Rule], Field(min_length=1, max_length=16)]
Hostnames = Annotated[list[Hostname], Field(max_length=1024)]


class Layer4RouteSpec(Model):
    """Spec of a TCPRoute or UDPRoute."""

    parent_refs: ParentReferences | None = None
    rules: OneRule

    @model_validator(mode="after")
    def _rules(self) -> Self:
        check_parent_refs(self.parent_refs or [])
        check_rule_names(rule.name for rule in self.rules)
        return self


class Layer4RouteSpecV1Alpha2(Layer4RouteSpec):
    """Spec of a TCPRoute or UDPRoute of v1alpha2."""

    rules: SeveralRules


class TLSRouteSpec(Layer4RouteSpec):
    """Spec of a TLSRoute."""

    hostnames: Annotated[Hostnames, Field(min_length=1), AfterValidator(_no_addresses)]


class TLSRouteSpecV1Alpha2(Layer4RouteSpecV1Alpha2):
    """Spec of a TLSRoute of v1alpha2."""

    hostnames: Hostnames | None = None


class TLSRoute(Model):
    """A TLSRoute."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3"]
    kind: Literal["TLSRoute"]
    metadata: Metadata
    spec: TLSRouteSpec


class TLSRouteV1Alpha2(Model):
    """A TLSRoute of v1alpha2."""

    api_version: Literal["gateway.networking.k8s.io/v1alpha2"]
    kind: Literal["TLSRoute"]
    metadata: Metadata
    spec: TLSRouteSpecV1Alpha2


class TCPRoute(Model):
    """A TCPRoute."""

    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["TCPRoute"]
    metadata: Metadata
    spec: Layer4RouteSpec


class TCPRouteV1Alpha2(Model):
    """A TCPRoute of v1alpha2."""

    api_version: Literal["gateway.networking.k8s.io/v1alpha2"]
    kind: Literal["TCPRoute"]
    metadata: Metadata
    spec: Layer4RouteSpecV1Alpha2


class UDPRoute(Model):
    """A UDPRoute."""

    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["UDPRoute"]
    metadata: Metadata
    spec: Layer4RouteSpec


class UDPRouteV1Alpha2(Model):
    """A UDPRoute of v1alpha2."""

    api_version: Literal["gateway.networking.k8s.io/v1alpha2"]
    kind: Literal["UDPRoute"]
    metadata: Metadata
    spec: Layer4RouteSpecV1Alpha2
