"""What a Pod may learn about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubelab.network import NODE

if TYPE_CHECKING:
    from kubelab.api import Document

NODE_NAME = "node"


def field(pod: Document, address: str, path: str) -> str:
    """A field of the downward API."""
    metadata, spec = pod["metadata"], pod["spec"]
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": NODE_NAME,
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": NODE,
    }
    if path in simple:
        return simple[path]
    kind, name = path.removeprefix("metadata.").removesuffix("']").split("['")
    return metadata.get(kind, {}).get(name, "")
