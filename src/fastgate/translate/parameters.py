"""GatewayParameters (parametersRef of a Gateway or its GatewayClass) as `ir.Settings`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from fastgate.api.infrastructure import Drain, Infrastructure, ServiceParameters
from fastgate.durations import milliseconds
from fastgate.ir import AccessLog, Limits, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastgate.api.base import Model
    from fastgate.store import Store

GROUP = "fastgate.dev"
KIND = "GatewayParameters"

_PARTS: dict[str, type[Model]] = {"service": ServiceParameters, "drain": Drain}  # of Infrastructure
_SCALARS = ("trusted_hops", "underscores", "request_id", "via", "server", "proxy_protocol")


class InvalidParameters(Exception):  # noqa: N818 - it is the name of the reason that the condition carries
    """A parametersRef cannot be followed; the message says why."""


def settings_of(store: Store, ref: Any, namespace: str, base: Settings) -> Settings:
    """Return `base` with what the referenced GatewayParameters say.

    Args:
        store: where the parameters are.
        ref: a parametersRef or None.
        namespace: where a reference without namespace points to.
        base: settings for everything that the parameters leave out.

    Raises:
        InvalidParameters: the reference names another kind, or nothing.
    """
    parameters = _referred(store, ref, namespace)
    return base if parameters is None else merged(parameters.spec, base)


def _referred(store: Store, ref: Any, namespace: str) -> Any:
    """Return the GatewayParameters that a reference names; None without one."""
    if ref is None:
        return None
    if (ref.group, ref.kind) != (GROUP, KIND):
        raise InvalidParameters(f"parametersRef names {ref.group}/{ref.kind}; {GROUP}/{KIND} is expected")
    place = getattr(ref, "namespace", None) or namespace
    parameters = store.get(KIND, place, ref.name)
    if parameters is None:
        raise InvalidParameters(f"{KIND} {place}/{ref.name} does not exist")
    return parameters


def infrastructure_of(store: Store, gateway: Any) -> dict[str, Any] | None:
    """Return what is said of a Gateway's data planes, its own over what is said of its class; see `provisioned`.

    None: it is not known, as a reference cannot be followed, which a condition says. What is not known is nobody's
    wish: a Service that was internal must not become a public one because its parameters are not there.
    """
    gateway_class = store.get("GatewayClass", "", gateway.spec.gateway_class_name)
    of_gateway = gateway.spec.infrastructure.parameters_ref if gateway.spec.infrastructure is not None else None
    of_class = gateway_class.spec.parameters_ref if gateway_class is not None else None
    found: dict[str, Any] = {}
    for ref, namespace in ((of_class, "default"), (of_gateway, gateway.metadata.namespace)):
        try:
            parameters = _referred(store, ref, namespace)
        except InvalidParameters:
            return None
        if parameters is not None and parameters.spec.infrastructure is not None:
            found = provisioned(parameters.spec.infrastructure, found)
    return found


def provisioned(infrastructure: Any, base: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with every field that a spec.infrastructure sets, and each that its service and drain set."""
    found = dict(base)
    for name, value in _said(Infrastructure, infrastructure):
        part = _PARTS.get(name)
        found[name] = value if part is None else {**base.get(name, {}), **dict(_said(part, value))}
    return found


def _said(model: type[Model], value: Any) -> Iterator[tuple[str, Any]]:
    """The fields that are set."""
    return ((name, each) for name in model.model_fields if (each := getattr(value, name)) is not None)


def merged(spec: Any, base: Settings) -> Settings:
    """Return `base` with every field that a GatewayParameters spec sets."""
    changes: dict[str, Any] = {name: getattr(spec, name) for name in _SCALARS if getattr(spec, name, None) is not None}
    if spec.client_certificate_header is not None:
        changes["client_cert"] = spec.client_certificate_header
    if spec.limits is not None:
        changes["limits"] = _limits(spec.limits, base.limits)
    if spec.trailers is not None:
        changes["trailers"] = tuple(sorted(name.lower() for name in spec.trailers))
    log = spec.access_log
    if log is not None:
        if log.format is not None:
            changes["access_log"] = AccessLog(log.format)
        if log.template is not None:
            changes["access_log_format"] = log.template
    return replace(base, **changes)


def _limits(spec: Any, base: Limits) -> Limits:
    changes: dict[str, int] = {}
    for limit in fields(Limits):
        value = getattr(spec, limit.name)
        if value is not None:
            changes[limit.name] = milliseconds(value) if isinstance(value, str) else value
    return replace(base, **changes)
