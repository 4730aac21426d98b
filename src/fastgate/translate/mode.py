"""What differs between the front ends of translation."""

from __future__ import annotations

from dataclasses import dataclass

from fastgate.translate.conditions import CONTROLLER_NAME
from fastgate.translate.features import SUPPORTED_FEATURES


@dataclass(frozen=True, slots=True)
class Mode:
    """How a store is read. Controller, guard and zone stay while a front end runs; what the API server has may change.

    Attributes:
        controller: whose GatewayClasses are ours (spec.controllerName), and what signs entries of statuses.
        features: of pkg/features, sorted; what GatewayClasses say that is supported.
        guarded: those who write routes are not those who run the gateway: no endpoint may be on the loopback or
            link-local network, or nowhere.
        zone: that this host is in; "": not known.
        unsupported: why the version of the API that is installed is not supported; "": it is.
    """

    controller: str = CONTROLLER_NAME
    features: tuple[str, ...] = SUPPORTED_FEATURES
    guarded: bool = False
    zone: str = ""
    unsupported: str = ""


FILES = Mode()
