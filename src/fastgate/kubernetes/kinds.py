"""The kinds that are watched, and where an API server has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastgate import api
from fastgate.api.base import GROUP
from fastgate.api.metadata import Resource

if TYPE_CHECKING:
    from pydantic import BaseModel

_OWN = "fastgate.dev"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource.

    Attributes:
        name: as resources spell it.
        group: "" is the core's.
        versions: the preferred one first.
        plural: as paths spell it.
        namespaced: whether its objects are in namespaces.
        by_metadata: whether objects are watched without their contents, which are read when something refers to them.
    """

    name: str
    group: str
    versions: tuple[str, ...]
    plural: str
    namespaced: bool = True
    by_metadata: bool = False

    @property
    def full(self) -> str:
        """As messages, RBAC and the names of definitions spell it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, version: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of a collection, or of an object of it. No namespace: that of all."""
        root = f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"
        parts = [root, f"namespaces/{namespace}" if namespace else "", self.plural, name, subresource]
        return "/".join(part for part in parts if part)

    def api_version(self, version: str) -> str:
        """Return `apiVersion` as resources spell it."""
        return f"{self.group}/{version}" if self.group else version

    def model(self, version: str) -> type[BaseModel]:
        """Return the model of its resources at a version."""
        found = api.model_of(self.api_version(version), self.name)
        return found if found is not None else Resource


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("GatewayClass", GROUP, ("v1", "v1beta1"), "gatewayclasses", namespaced=False),
        Kind("Gateway", GROUP, ("v1", "v1beta1"), "gateways"),
        Kind("ListenerSet", GROUP, ("v1",), "listenersets"),
        Kind("HTTPRoute", GROUP, ("v1", "v1beta1"), "httproutes"),
        Kind("TLSRoute", GROUP, ("v1", "v1alpha3", "v1alpha2"), "tlsroutes"),
        Kind("TCPRoute", GROUP, ("v1", "v1alpha2"), "tcproutes"),
        Kind("UDPRoute", GROUP, ("v1", "v1alpha2"), "udproutes"),
        Kind("BackendTLSPolicy", GROUP, ("v1", "v1alpha3"), "backendtlspolicies"),
        Kind("ReferenceGrant", GROUP, ("v1", "v1beta1"), "referencegrants"),
        Kind("Service", "", ("v1",), "services"),
        Kind("EndpointSlice", "discovery.k8s.io", ("v1",), "endpointslices"),
        Kind("Namespace", "", ("v1",), "namespaces", namespaced=False),
        Kind("Secret", "", ("v1",), "secrets", by_metadata=True),
        Kind("ConfigMap", "", ("v1",), "configmaps", by_metadata=True),
        Kind(
            "ClusterTrustBundle",
            "certificates.k8s.io",
            ("v1", "v1beta1", "v1alpha1"),
            "clustertrustbundles",
            namespaced=False,
        ),
        Kind(
            "CustomResourceDefinition",
            "apiextensions.k8s.io",
            ("v1",),
            "customresourcedefinitions",
            namespaced=False,
            by_metadata=True,
        ),
        Kind("Backend", _OWN, ("v1alpha1",), "backends"),
        Kind("Filter", _OWN, ("v1alpha1",), "filters"),
        Kind("GatewayParameters", _OWN, ("v1alpha1",), "gatewayparameters"),
    )
}
