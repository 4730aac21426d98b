"""ReferenceGrant (apis/v1/referencegrant_types.go), standard channel of v1.7.0."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fastgate.api.base import Group, Kind, Model, Namespace, ObjectName
from fastgate.api.metadata import Metadata


class ReferenceGrantFrom(Model):
    """Who may refer."""

    group: Group
    kind: Kind
    namespace: Namespace


class ReferenceGrantTo(Model):
    """What may be referred to; without a name, everything of the kind."""

    group: Group
    kind: Kind
    name: ObjectName | None = None


class ReferenceGrantSpec(Model):
    """Spec of a ReferenceGrant."""

    from_: Annotated[list[ReferenceGrantFrom], Field(min_length=1, max_length=16)] = Field(alias="from")
    to: Annotated[list[ReferenceGrantTo], Field(min_length=1, max_length=16)]


class ReferenceGrant(Model):
    """A ReferenceGrant."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
    kind: Literal["ReferenceGrant"]
    metadata: Metadata
    spec: ReferenceGrantSpec
