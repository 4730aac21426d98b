"""Kinds of Kubernetes itself, as far as they are read: unknown fields are no faults here."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fastgate.api.base import Core, PortNumber, fault
from fastgate.api.metadata import Metadata

_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_MAX_KEY = 253


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


class ForZone(Core):
    """A zone whose clients an endpoint is meant for."""

    name: str


class EndpointHints(Core):
    """Who an endpoint is meant for."""

    for_zones: Annotated[list[ForZone], Field(max_length=8)] | None = None


class Endpoint(Core):
    """One endpoint; its addresses are interchangeable."""

    addresses: Annotated[list[str], Field(min_length=1, max_length=100)]
    conditions: EndpointConditions | None = None
    hints: EndpointHints | None = None


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


def _key(value: str) -> str:
    if not _KEY.fullmatch(value) or value in (".", "..") or len(value) > _MAX_KEY:
        raise fault(f"{value[:80]!r} is not a key: at most {_MAX_KEY} letters, digits, '-', '_' or '.'")
    return value


def _base64(value: str) -> str:
    try:
        base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:
        raise fault("must be base64; text as it is goes into stringData") from None
    return value


DataKey = Annotated[str, AfterValidator(_key)]
Base64 = Annotated[str, AfterValidator(_base64)]


class Secret(Core):
    """A Secret; its data, base64 as in the document, stays out of every representation and every message."""

    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: Metadata
    type: str = "Opaque"
    data: dict[DataKey, Base64] | None = Field(default=None, repr=False)
    string_data: dict[DataKey, str] | None = Field(default=None, repr=False)


class ConfigMap(Core):
    """A ConfigMap."""

    api_version: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: Metadata
    data: dict[DataKey, str] | None = None


class Namespace(Core):
    """A Namespace."""

    api_version: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: Metadata


class ClusterTrustBundleSpec(Core):
    """Spec of a ClusterTrustBundle: certificates in PEM, which are looked at where they are used."""

    signer_name: str = ""
    trust_bundle: str


class ClusterTrustBundle(Core):
    """A ClusterTrustBundle."""

    api_version: Literal["certificates.k8s.io/v1", "certificates.k8s.io/v1beta1", "certificates.k8s.io/v1alpha1"]
    kind: Literal["ClusterTrustBundle"]
    metadata: Metadata
    spec: ClusterTrustBundleSpec

    @model_validator(mode="after")
    def _named_for_its_signer(self) -> Self:
        prefix = f"{self.spec.signer_name.replace('/', ':')}:" if self.spec.signer_name else ""
        signer, colon, _ = self.metadata.name.rpartition(":")
        if signer + colon != prefix:
            expected = f"must start with {prefix!r}, for its signer" if prefix else "must have no ':' without a signer"
            raise fault(f"the name {expected}")
        return self
