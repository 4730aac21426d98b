"""GatewayClass, Gateway and ListenerSet (apis/v1/gateway_types.go and its neighbours), standard channel of v1.7.0."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from fastgate.api.base import (
    GROUP,
    Group,
    Hostname,
    Kind,
    LabelSelector,
    Model,
    Namespace,
    ObjectName,
    PortNumber,
    SectionName,
    fault,
    map_by,
)
from fastgate.api.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_HOSTNAME = re.compile(rf"(\*\.)?{_SUBDOMAIN}")
_KEY = re.compile(rf"({_SUBDOMAIN}/)?([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]")
_MAX_PREFIX = 253

ControllerName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=rf"^{_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$")
]
AddressType = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=rf"^Hostname|IPAddress|NamedAddress|{_SUBDOMAIN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$",
    ),
]
ProtocolType = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern=rf"^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?$|{_SUBDOMAIN}\/[A-Za-z0-9]+$",
    ),
]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
LongText = Annotated[str, Field(max_length=4096)]


class ParametersReference(Model):
    """Parameters of a class, wherever they are."""

    group: Group
    kind: Kind
    name: ObjectName
    namespace: Namespace | None = None


class LocalParametersReference(Model):
    """Parameters of a Gateway, in its own namespace."""

    group: Group
    kind: Kind
    name: ObjectName


class GatewayClassSpec(Model):
    """Spec of a GatewayClass."""

    controller_name: ControllerName
    parameters_ref: ParametersReference | None = None
    description: Annotated[str, Field(max_length=64)] | None = None


class GatewayClass(Model):
    """A GatewayClass."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
    kind: Literal["GatewayClass"]
    metadata: Metadata
    spec: GatewayClassSpec


class SecretReference(Model):
    """A Secret, or what holds a certificate elsewhere."""

    group: Group = ""
    kind: Kind = "Secret"
    name: ObjectName
    namespace: Namespace | None = None


class ObjectReference(Model):
    """An object with its group and kind."""

    group: Group
    kind: Kind
    name: ObjectName
    namespace: Namespace | None = None


class ListenerTLSConfig(Model):
    """TLS of a listener."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[list[SecretReference], Field(max_length=64)] | None = None
    options: Annotated[dict[str, LongText], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _terminating_needs_a_certificate(self) -> Self:
        if self.mode == "Terminate" and not self.certificate_refs and not self.options:
            raise fault("certificateRefs or options must be specified when mode is Terminate")
        return self


class RouteNamespaces(Model):
    """Namespaces that routes may come from."""

    from_: Literal["All", "Selector", "Same"] = Field(default="Same", alias="from")
    selector: LabelSelector | None = None


class RouteGroupKind(Model):
    """A kind of route."""

    group: Group = GROUP
    kind: Kind


class AllowedRoutes(Model):
    """Routes that may attach to a listener."""

    namespaces: RouteNamespaces = Field(default_factory=RouteNamespaces)
    kinds: Annotated[list[RouteGroupKind], Field(max_length=8)] | None = None


class Listener(Model):
    """A listener of a Gateway or of a ListenerSet."""

    name: SectionName
    hostname: Hostname | None = None
    port: PortNumber
    protocol: ProtocolType
    tls: ListenerTLSConfig | None = None
    allowed_routes: AllowedRoutes = Field(default_factory=AllowedRoutes)


Listeners = Annotated[list[Listener], Field(min_length=1, max_length=64), map_by("name")]


def _is_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 4 or "%" not in text  # noqa: PLR2004 - a zone is no part of it
    except ValueError:
        return False


class GatewayAddress(Model):
    """An address that a Gateway asks for."""

    type: AddressType = "IPAddress"
    value: Annotated[str, Field(max_length=253)] | None = None

    @model_validator(mode="after")
    def _value_is_of_the_type(self) -> Self:
        if self.value is None:
            return self
        if self.type == "IPAddress" and not _is_ip(self.value):
            raise fault(f"value must be an IPv4 or IPv6 address when type is IPAddress, not {self.value!r}")
        if self.type == "Hostname" and not _HOSTNAME.fullmatch(self.value):
            raise fault(
                f"Hostname value must be empty or contain only valid characters (matching ^{_HOSTNAME.pattern}$)"
            )
        return self


class ListenerNamespaces(Model):
    """Namespaces that ListenerSets may come from."""

    from_: Literal["All", "Selector", "Same", "None"] = Field(default="None", alias="from")
    selector: LabelSelector | None = None


class AllowedListeners(Model):
    """ListenerSets that may attach to a Gateway."""

    namespaces: ListenerNamespaces = Field(default_factory=ListenerNamespaces)


class GatewayInfrastructure(Model):
    """What a Gateway's own objects in the cluster carry."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=8)] | None = None
    annotations: Annotated[dict[str, LongText], Field(max_length=16)] | None = None
    parameters_ref: LocalParametersReference | None = None

    @model_validator(mode="after")
    def _keys_are_qualified_names(self) -> Self:
        for what, keys in (("Label", self.labels or {}), ("Annotation", self.annotations or {})):
            for key in keys:
                if not _KEY.fullmatch(key):
                    raise fault(
                        f"{what} keys must be in the form of an optional DNS subdomain prefix followed by a required "
                        "name segment of up to 63 characters."
                    )
                if len(key.split("/")[0]) >= _MAX_PREFIX:
                    raise fault(
                        f"If specified, the {what.lower()} key's prefix must be a DNS subdomain not longer than 253 "
                        "characters in total."
                    )
        return self


class GatewayBackendTLS(Model):
    """TLS to backends."""

    client_certificate_ref: SecretReference | None = None


class FrontendTLSValidation(Model):
    """How clients' certificates are checked."""

    ca_certificate_refs: Annotated[list[ObjectReference], Field(min_length=1, max_length=16)]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class TLSConfig(Model):
    """TLS from clients."""

    validation: FrontendTLSValidation | None = None


class TLSPortConfig(Model):
    """TLS from clients of one port."""

    port: PortNumber
    tls: TLSConfig


class FrontendTLSConfig(Model):
    """TLS from clients, by port."""

    default: TLSConfig
    per_port: Annotated[list[TLSPortConfig], Field(max_length=64), map_by("port")] | None = None


class GatewayTLSConfig(Model):
    """TLS of a whole Gateway."""

    backend: GatewayBackendTLS | None = None
    frontend: FrontendTLSConfig | None = None


class GatewaySpec(Model):
    """Spec of a Gateway."""

    gateway_class_name: ObjectName
    listeners: Listeners
    addresses: Annotated[list[GatewayAddress], Field(max_length=16)] | None = None
    infrastructure: GatewayInfrastructure | None = None
    allowed_listeners: AllowedListeners | None = None
    tls: GatewayTLSConfig | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        _check_listeners(self.listeners)
        for type_ in ("IPAddress", "Hostname"):
            values = [a.value for a in self.addresses or () if a.type == type_ and a.value is not None]
            if len(set(values)) != len(values):
                raise fault(f"{type_} values must be unique")
        return self


class Gateway(Model):
    """A Gateway."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
    kind: Literal["Gateway"]
    metadata: Metadata
    spec: GatewaySpec


class ParentGatewayReference(Model):
    """The Gateway that a ListenerSet adds listeners to."""

    group: Group = GROUP
    kind: Kind = "Gateway"
    name: ObjectName
    namespace: Namespace | None = None


class ListenerSetSpec(Model):
    """Spec of a ListenerSet."""

    parent_ref: ParentGatewayReference
    listeners: Listeners

    @model_validator(mode="after")
    def _rules(self) -> Self:
        _check_listeners(self.listeners)
        return self


class ListenerSet(Model):
    """A ListenerSet."""

    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["ListenerSet"]
    metadata: Metadata
    spec: ListenerSetSpec


def _check_listeners(listeners: Iterable[Listener]) -> None:
    seen = set()
    for listener in listeners:
        if listener.protocol in ("HTTP", "TCP", "UDP") and listener.tls is not None:
            raise fault("tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']")
        if listener.protocol == "HTTPS" and listener.tls is not None and listener.tls.mode != "Terminate":
            raise fault("tls mode must be Terminate for protocol HTTPS")
        if listener.protocol == "TLS" and listener.tls is None:
            raise fault("tls mode must be set for protocol TLS")
        if listener.protocol in ("TCP", "UDP") and listener.hostname is not None:
            raise fault("hostname must not be specified for protocols ['TCP', 'UDP']")
        key = (listener.port, listener.protocol, listener.hostname)
        if key in seen:
            raise fault("Combination of port, protocol and hostname must be unique for each listener")
        seen.add(key)
