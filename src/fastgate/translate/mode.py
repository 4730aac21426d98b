"""What differs between front ends of translation and never changes while one of them runs."""

from __future__ import annotations

from dataclasses import dataclass

from fastgate.translate.conditions import CONTROLLER_NAME
from fastgate.translate.gateway_status import SUPPORTED_FEATURES


@dataclass(frozen=True, slots=True)
class Mode:
    """How a store is read.

    Attributes:
        controller: whose GatewayClasses are ours (spec.controllerName), and what signs entries of statuses.
        features: of pkg/features, sorted; what GatewayClasses say that is supported.
        guarded: those who write routes are not those who run the gateway: no endpoint may be on the loopback or
            link-local network, or nowhere.
    """

    controller: str = CONTROLLER_NAME
    features: tuple[str, ...] = SUPPORTED_FEATURES
    guarded: bool = False


FILES = Mode()
