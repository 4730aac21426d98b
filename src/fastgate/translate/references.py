"""The Secrets and ConfigMaps that a resource refers to: what has to be read for it to be translated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate.translate.configured import configure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.plugins.discovery import Catalog
    from fastgate.store import Key

KINDS = ("Gateway", "ListenerSet", "BackendTLSPolicy", "Backend", "Filter")  # that refer to some
_CONTENT = ("Secret", "ConfigMap")


def references_of(kind: str, source: Any, catalog: Catalog) -> frozenset[Key]:
    """Return the keys of the Secrets and ConfigMaps that a resource of a kind refers to, permitted or not."""
    namespace = source.metadata.namespace
    if kind == "Filter":
        found = configure(source, catalog).references
        return frozenset((ref.kind, ref.namespace or namespace, ref.name) for _, ref in found)
    return frozenset(
        (ref.kind or "Secret", getattr(ref, "namespace", None) or namespace, ref.name)
        for ref in _REFS[kind](source.spec)
        if not ref.group and (ref.kind or "Secret") in _CONTENT
    )


def _of_gateway(spec: Any) -> Iterator[Any]:
    yield from _of_listeners(spec)
    tls = spec.tls
    if tls is not None and tls.backend is not None and tls.backend.client_certificate_ref is not None:
        yield tls.backend.client_certificate_ref
    if tls is not None and tls.frontend is not None:
        for entry in (tls.frontend.default, *(each.tls for each in tls.frontend.per_port or ())):
            if entry is not None and entry.validation is not None:
                yield from entry.validation.ca_certificate_refs or ()


def _of_listeners(spec: Any) -> Iterator[Any]:
    for listener in spec.listeners or ():
        if listener.tls is not None:
            yield from listener.tls.certificate_refs or ()


def _of_policy(spec: Any) -> Iterable[Any]:
    return spec.validation.ca_certificate_refs or ()


def _of_backend(spec: Any) -> Iterable[Any]:
    return (spec.tls.ca_certificate_refs or ()) if spec.tls is not None else ()


_REFS = {
    "Gateway": _of_gateway,
    "ListenerSet": _of_listeners,
    "BackendTLSPolicy": _of_policy,
    "Backend": _of_backend,
}
