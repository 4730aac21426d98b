"""The CustomResourceDefinitions of an API server: what version of the Gateway API it has, and when a kind appears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.api.base import GROUP
from fastgate.translate.features import VERSION

if TYPE_CHECKING:
    from fastgate.kubernetes.cache import Cache

KIND = "CustomResourceDefinition"
_BUNDLE, _CHANNEL = (f"{GROUP}/{name}" for name in ("bundle-version", "channel"))


def bundle(cache: Cache) -> tuple[str, str]:
    """Return version and channel of the Gateway API that is installed; "" where that is not known."""
    stored = cache.metadata((KIND, "", f"gateways.{GROUP}"))
    annotations = (stored.resource.metadata.annotations if stored is not None else None) or {}
    return annotations.get(_BUNDLE, ""), annotations.get(_CHANNEL, "")


def unsupported(version: str) -> str:
    """Say why an installed version is not supported; "" when it is, or is not known."""
    minor, ours = version.rpartition(".")[0], VERSION.rpartition(".")[0]
    if not version or minor == ours:
        return ""
    return f"Gateway API {version} is installed and {VERSION} is supported: what they have in common is served"
