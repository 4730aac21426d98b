"""Models of the resources that fastgate reads, and the one way from a document to one of them."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fastgate.api import (
    backend_tls_policy,
    core,
    fastgate,
    filters,
    gateway,
    http_route,
    layer4_routes,
    metadata,
    reference_grant,
)
from fastgate.api.base import FORMS, GROUP, Invalid, Problem, UnknownKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    Kinds = Mapping[tuple[str, str], type[metadata.Resource]]  # of plugins, by apiVersion and kind

__all__ = ["CLUSTER_SCOPED", "KINDS", "Invalid", "Problem", "UnknownKind", "model_of", "parse", "problems_of"]

KINDS: dict[tuple[str, str], type[BaseModel]] = {
    (GROUP, "GatewayClass"): gateway.GatewayClass,
    (GROUP, "Gateway"): gateway.Gateway,
    (GROUP, "ListenerSet"): gateway.ListenerSet,
    (GROUP, "HTTPRoute"): http_route.HTTPRoute,
    (GROUP, "TLSRoute"): layer4_routes.TLSRoute,
    (GROUP, "TCPRoute"): layer4_routes.TCPRoute,
    (GROUP, "UDPRoute"): layer4_routes.UDPRoute,
    (GROUP, "BackendTLSPolicy"): backend_tls_policy.BackendTLSPolicy,
    (GROUP, "ReferenceGrant"): reference_grant.ReferenceGrant,
    ("", "Service"): core.Service,
    ("", "Secret"): core.Secret,
    ("", "ConfigMap"): core.ConfigMap,
    ("", "Namespace"): core.Namespace,
    ("discovery.k8s.io", "EndpointSlice"): core.EndpointSlice,
    ("certificates.k8s.io", "ClusterTrustBundle"): core.ClusterTrustBundle,
    ("fastgate.dev", "Backend"): fastgate.Backend,
    ("fastgate.dev", "Filter"): filters.Filter,
    ("fastgate.dev", "GatewayParameters"): fastgate.GatewayParameters,
}

# Versions of a kind that differ in more than their name.
_VERSIONS: dict[tuple[str, str], type[BaseModel]] = {
    (f"{GROUP}/v1alpha2", "TLSRoute"): layer4_routes.TLSRouteV1Alpha2,
    (f"{GROUP}/v1alpha2", "TCPRoute"): layer4_routes.TCPRouteV1Alpha2,
    (f"{GROUP}/v1alpha2", "UDPRoute"): layer4_routes.UDPRouteV1Alpha2,
}

# Fields of the experimental channel of v1.7.0 that the standard one does not have, with their kinds.
_EXPERIMENTAL = {
    "Gateway": frozenset(("routability", "defaultScope", "filters")),
    "HTTPRoute": frozenset(("externalAuth", "sessionPersistence", "useDefaultGateways")),
    "ListenerSet": frozenset(("filters",)),
    "TLSRoute": frozenset(("useDefaultGateways",)),
    "TCPRoute": frozenset(("useDefaultGateways",)),
    "UDPRoute": frozenset(("useDefaultGateways",)),
}

# Parts whose content is somebody else's to define; null means something there.
_OPAQUE = {"Filter": ("spec", "config")}

CLUSTER_SCOPED = frozenset(("ClusterTrustBundle", "GatewayClass", "Namespace"))

_SUBJECT = re.compile(r"^(?:Input|String|List|Dictionary|Value) should ")
_CORE_FIELDS = frozenset(("status",))


def model_of(version: str, kind: str) -> type[BaseModel] | None:
    """Return the model of a kind at an apiVersion; None: it is not read here."""
    return _VERSIONS.get((version, kind)) or KINDS.get((version.rpartition("/")[0], kind))


def parse(document: dict[str, Any], kinds: Kinds | None = None) -> Any:
    """Validate a document as the API server would (schema, then rules) and return its model.

    `status` and what is null are left out first; what is null in the configuration of a Filter stays. Kinds of
    plugins, by version, are in `kinds`.

    Raises:
        UnknownKind: no such kind is read here.
        Invalid: with every problem.
    """
    version, kind = document["apiVersion"], document["kind"]
    group = version.rpartition("/")[0]
    own = model_of(version, kind)
    others = kinds or {}
    model = own or others.get((version, kind))
    if model is None:
        raise UnknownKind(f"kind {kind} of {version} is not served and is left alone{_meant_kind(group, kind)}")
    problems = metadata.problems(document["metadata"], kind, namespaced=kind not in CLUSTER_SCOPED)
    try:
        fields = {k: v for k, v in document.items() if k not in _CORE_FIELDS}
        resource = model.model_validate(_normal(fields, _OPAQUE.get(kind, ())))
    except ValidationError as e:
        problems += problems_of(e, model, kind, with_values=kind != "Secret")
    except Exception as e:
        if (version, kind) not in others:
            raise
        problems.append(Problem((), f"the model of {kind} failed: {type(e).__name__}: {e}"))
    if problems:
        raise Invalid(problems)
    return resource


def problems_of(error: ValidationError, model: type[BaseModel], kind: str = "", *, with_values: bool) -> list[Problem]:
    """Return what a model has against a document, in our words; `with_values` repeats the values that are wrong."""
    found = error.errors(include_url=False, include_input=True)
    return [_problem(one, model, kind, with_values=with_values) for one in found]


def _meant_kind(group: str, kind: str) -> str:
    groups = [g for g, k in KINDS if k == kind]
    if groups:
        return f": did you mean the {kind} of {groups[0] or 'v1'}?"
    return _meant(kind, [k for g, k in KINDS if g == group])


def _normal(value: Any, opaque: tuple[str, ...] = ()) -> Any:
    """The document as JSON means it: null fields are none, 80.0 is 80. The document itself when nothing changes.

    What stands at the path `opaque` stays as it is.
    """
    kind = type(value)
    if kind is dict:
        out = value
        for key, item in value.items():
            if opaque == (key,) and item is not None:
                continue
            normal = None if item is None else _normal(item, opaque[1:] if opaque[:1] == (key,) else ())
            if normal is not item or item is None:
                if out is value:
                    out = dict(value)
                if normal is None:
                    del out[key]
                else:
                    out[key] = normal
        return out
    if kind is list:
        items = [_normal(item) for item in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    if kind is float and value.is_integer():
        return int(value)
    return value


def _problem(error: Any, model: type[BaseModel], kind: str, *, with_values: bool) -> Problem:
    path: tuple[str | int, ...] = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]
    value, context = error["input"], error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        return Problem(path, _unknown_field(str(path[-1]), _fields_at(model, path[:-1]), kind))
    if error["type"] == "missing":
        return Problem(path, "is required")
    if error["type"] == "fastgate":
        return Problem(path, error["msg"])
    message = _SUBJECT.sub("must ", error["msg"]).removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        message = f"must be {FORMS.get(context['pattern'], 'text that matches ' + context['pattern'])}"
    if with_values and isinstance(value, str | int | float | bool):
        message += f", not {_shortened(value)}"
    if error["type"] == "literal_error" and isinstance(value, str):
        message += _meant(value, re.findall(r"'([^']*)'", context["expected"]))
    return Problem(path, message)


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - what fits in a line


def _unknown_field(name: str, known: Sequence[str], kind: str) -> str:
    if name in _EXPERIMENTAL.get(kind, ()):
        return f"unknown field {name!r}: it is of the experimental channel of Gateway API v1.7.0, which is not served"
    return f"unknown field {name!r}" + _meant(name, known)


def _meant(word: str, known: Sequence[str]) -> str:
    """Say what was meant when something known is near, or differs in case only."""
    for candidate in known:
        if candidate.lower() == word.lower():
            return f": did you mean {candidate!r}?"
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f": did you mean {near[0]!r}?" if near else ""


def _fields_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The names of the fields of the model at a path, as documents spell them."""
    here: Any = model
    for part in path:
        if isinstance(part, str) and here is not None:
            field = next((f for name, f in here.model_fields.items() if (f.alias or name) == part), None)
            here = _model_in(field.annotation) if field is not None else None
    return [field.alias or name for name, field in here.model_fields.items()] if here is not None else []


def _model_in(annotation: Any) -> Any:
    """The model inside of `list[Model] | None` and the like."""
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
