"""One Filter resource: its type, its configuration, and the Secrets and ConfigMaps that this refers to."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fastgate import api
from fastgate.durations import milliseconds
from fastgate.ir import Plugin
from fastgate.plugins import values
from fastgate.plugins.discovery import FilterType, PluginProblem
from fastgate.problems import field_path

if TYPE_CHECKING:
    from fastgate.plugins.discovery import Catalog
    from fastgate.plugins.values import Path, Ref
    from fastgate.store import Store
    from fastgate.translate.grants import Grants

_SOURCE = ("fastgate.dev", "Filter")
_TIMEOUT = "100ms"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a Filter is not accepted: the condition's reason and message, and the fields that are wrong.

    `faults` are (path from `spec` on, sentence).
    """

    reason: str
    message: str
    faults: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class ConfiguredFilter:
    """A Filter with a validated configuration, or a refusal. `source` keeps the object's identity alive."""

    source: Any
    type: FilterType | None
    config: dict[str, Any]
    references: tuple[tuple[Path, Ref], ...]
    refusal: Refusal | None


def configure(source: Any, catalog: Catalog) -> ConfiguredFilter:
    """Validate a Filter as far as nothing else decides."""
    spec = source.spec
    config = spec.config or {}
    found = catalog.check(spec.type, config)
    if isinstance(found, PluginProblem):
        return _refused(source, found.reason, [(("spec", "type"), found.message)])
    try:
        canonical = found.validated(config)
        return ConfiguredFilter(source, found, canonical, tuple(found.references(canonical)), None)
    except ValidationError as e:
        # Without the values: what is wrong may be a secret in the place of a reference to one.
        problems = api.problems_of(e, found.config_model, with_values=False)
        faults = [(("spec", "config", *problem.path), problem.message) for problem in problems]
        return _refused(source, "InvalidConfiguration", faults)


def resolved(configured: ConfiguredFilter, store: Store, grants: Grants) -> tuple[Plugin | None, Refusal | None]:
    """Return the plugin of a Filter with the values that its configuration refers to, or why there is none."""
    if configured.type is None:
        return None, configured.refusal
    metadata, spec = configured.source.metadata, configured.source.spec
    content: dict[Path, bytes] = {}
    reasons: list[str] = []
    faults: list[tuple[Path, str]] = []
    for path, ref in configured.references:
        namespace = ref.namespace or metadata.namespace
        value, reason, message = _value(ref, namespace, (*_SOURCE, metadata.namespace), store, grants)
        if value is None:
            reasons.append(reason)
            faults.append((("spec", "config", *path), message))
        else:
            content[path] = value
    if faults:
        return None, _refusal(reasons[0], faults)
    config = values.resolve(configured.config, content) if content else configured.config
    plugin = Plugin(
        name=f"{metadata.namespace}/{metadata.name}",
        type=spec.type,
        config=json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        timeout=milliseconds(spec.timeout or _TIMEOUT),
        deny=spec.on_error != "Skip",
        inline=spec.execution == "Inline",
        phases=configured.type.phases,
        buffer_body=configured.type.buffer_body,
    )
    return plugin, None


def _value(
    ref: Ref, namespace: str, source: tuple[str, str, str], store: Store, grants: Grants
) -> tuple[bytes | None, str, str]:
    """Return the bytes that a reference stands for, or None with a reason and a message."""
    place = f"{ref.kind} {namespace}/{ref.name}"
    if not grants.allow(source, ("", ref.kind, namespace, ref.name)):
        return None, "RefNotPermitted", f"no ReferenceGrant in {namespace} permits {ref.kind} {ref.name}"
    found = store.get(ref.kind, namespace, ref.name)
    if found is None:
        return None, "BackendNotFound", f"{place} does not exist"
    text = (found.data or {}).get(ref.key)
    if text is None:
        return None, "BackendNotFound", f"{place} has no key {ref.key}"
    return base64.b64decode(text) if ref.kind == "Secret" else text.encode(), "", ""


def _refused(source: Any, reason: str, faults: list[tuple[Path, str]]) -> ConfiguredFilter:
    return ConfiguredFilter(source, None, {}, (), _refusal(reason, faults))


def _refusal(reason: str, faults: list[tuple[Path, str]]) -> Refusal:
    message = "; ".join(dict.fromkeys(f"{field_path(path)}: {text}" for path, text in faults))
    return Refusal(reason, message, tuple(faults))
