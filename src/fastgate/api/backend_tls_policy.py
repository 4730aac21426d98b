"""BackendTLSPolicy (apis/v1/backendtlspolicy_types.go), standard channel of v1.7.0; v1alpha3 is v1 by another name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fastgate.api.base import Group, Hostname, Kind, Model, ObjectName, PreciseHostname, SectionName, fault
from fastgate.api.metadata import Metadata
from fastgate.api.routes import check_target_refs

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

AbsoluteURI = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^(([^:/?#]+):)(//([^/?#]*))([^?#]*)(\?([^#]*))?(#(.*))?")
]
WellKnownCACertificates = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=rf"^(System|({_SUBDOMAIN}/([A-Za-z0-9][-A-Za-z0-9_.]{{0,61}})?[A-Za-z0-9]))$",
    ),
]


class LocalPolicyTargetReference(Model):
    """What a policy is about, and which of its ports."""

    group: Group
    kind: Kind
    name: ObjectName
    section_name: SectionName | None = None


class LocalObjectReference(Model):
    """An object of the policy's own namespace, or of the cluster."""

    group: Group
    kind: Kind
    name: ObjectName


class SubjectAltName(Model):
    """A name that a backend's certificate may have in the place of `hostname`."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: AbsoluteURI | None = None

    @model_validator(mode="after")
    def _type_and_value_agree(self) -> Self:
        for type_, value in (("Hostname", self.hostname), ("URI", self.uri)):
            if self.type == type_ and value is None:
                raise fault(f"SubjectAltName element must contain {type_}, if Type is set to {type_}")
            if self.type != type_ and value is not None:
                raise fault(f"SubjectAltName element must not contain {type_}, if Type is not set to {type_}")
        return self


class BackendTLSPolicyValidation(Model):
    """How the certificate of a backend is checked."""

    ca_certificate_refs: Annotated[list[LocalObjectReference], Field(max_length=8)] | None = None
    well_known_ca_certificates: WellKnownCACertificates | None = Field(default=None, alias="wellKnownCACertificates")
    hostname: PreciseHostname
    subject_alt_names: Annotated[list[SubjectAltName], Field(max_length=5)] | None = None

    @model_validator(mode="after")
    def _one_source_of_trust(self) -> Self:
        if self.ca_certificate_refs and self.well_known_ca_certificates is not None:
            raise fault("must not contain both CACertificateRefs and WellKnownCACertificates")
        if not self.ca_certificate_refs and self.well_known_ca_certificates is None:
            raise fault("must specify either CACertificateRefs or WellKnownCACertificates")
        return self


class BackendTLSPolicySpec(Model):
    """Spec of a BackendTLSPolicy."""

    target_refs: Annotated[list[LocalPolicyTargetReference], Field(min_length=1, max_length=16)]
    validation: BackendTLSPolicyValidation
    options: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _targets_differ(self) -> Self:
        check_target_refs(((ref.group, ref.kind, ref.name), ref.section_name) for ref in self.target_refs)
        return self


class BackendTLSPolicy(Model):
    """A BackendTLSPolicy."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha3"]
    kind: Literal["BackendTLSPolicy"]
    metadata: Metadata
    spec: BackendTLSPolicySpec
