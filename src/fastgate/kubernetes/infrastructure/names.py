"""Names and labels of what is made for a Gateway (GEP-1762)."""

from __future__ import annotations

import hashlib
import re

GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
GATEWAY_CLASS_NAME = "gateway.networking.k8s.io/gateway-class-name"
MANAGED_BY = "app.kubernetes.io/managed-by"
INSTANCE = "app.kubernetes.io/instance"
MANAGER = "fastgate"

_LONGEST = 63  # of a label's value, and of the names of Services
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # RFC 1035, as Services want it
_HASH = 10  # characters


def object_name(gateway: str, gateway_class: str) -> str:
    """Return the name of a Gateway's objects: `GATEWAY-CLASS`, or what is left of it and a hash."""
    whole = f"{gateway}-{gateway_class}"
    if len(whole) <= _LONGEST and _LABEL.fullmatch(whole):
        return whole
    readable = re.sub(r"[^a-z0-9]+", "-", whole).strip("-")
    return _hashed(readable if readable[:1].isalpha() else f"gw-{readable}", whole)


def label_value(text: str) -> str:
    """Return a name as the value of a label: itself, or what is left of it and a hash."""
    return text if len(text) <= _LONGEST else _hashed(text, text)


def instance_of(controller: str) -> str:
    """Return a controller's name as the label that tells its objects from those of others."""
    return label_value(controller.replace("/", "_"))


def _hashed(readable: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH]
    return f"{readable[: _LONGEST - _HASH - 1].rstrip('-.')}-{digest}"
