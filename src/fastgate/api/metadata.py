"""ObjectMeta: its fields, and the rules that the API server has for names, labels and annotations of every kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from fastgate.api.base import Model, Problem, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_SUBDOMAIN, _MAX_LABEL = 253, 63
_MAX_ANNOTATIONS = 256 * 1024  # bytes of all keys and values of an object

_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_FORM = "at most 63 letters, digits, '-', '_' or '.', with a letter or digit at both ends"
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)")


def _time(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise fault(f"must be a time as in RFC 3339, such as 2006-01-02T15:04:05Z, not {value!r}")
    return value


Time = Annotated[str, AfterValidator(_time)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class OwnerReference(Model):
    """What an object belongs to; only its form is checked."""

    api_version: Annotated[str, Field(min_length=1)]
    kind: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    uid: Annotated[str, Field(min_length=1)]
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Metadata(Model):
    """ObjectMeta. `creation_timestamp` stays text: RFC 3339 in UTC sorts as such.

    What an API server adds to an object on its way out (managedFields and the like) is accepted and not read.
    """

    name: str
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    generation: Int64 | None = None
    creation_timestamp: Time | None = None
    uid: str | None = None
    generate_name: str | None = None
    resource_version: str | None = None
    self_link: str | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: Int64 | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None
    managed_fields: list[dict[str, Any]] | None = None


class Resource(Model):
    """What every resource has. A kind of a plugin's own derives from it, commonly with a `spec`."""

    api_version: str
    kind: str
    metadata: Metadata


def problems(metadata: dict[str, Any], kind: str, *, namespaced: bool) -> list[Problem]:
    """Return what the API server says to the values; what is of a wrong type is left to the model."""
    found = [*_names(metadata, kind, namespaced), *_labels(metadata.get("labels")), *_others(metadata)]
    return [Problem(("metadata", *path), message) for path, message in found]


_Found = tuple[tuple[str | int, ...], str]


def _names(metadata: dict[str, Any], kind: str, namespaced: bool) -> Iterator[_Found]:
    if message := _name_problem(metadata["name"], kind):
        yield ("name",), message
    namespace = metadata.get("namespace") if namespaced else None
    if (
        isinstance(namespace, str)
        and namespace
        and not (len(namespace) <= _MAX_LABEL and _DNS_LABEL.fullmatch(namespace))
    ):
        yield ("namespace",), f"{_quoted(namespace)} is not a DNS label of at most {_MAX_LABEL} characters"


def _labels(labels: Any) -> Iterator[_Found]:
    for key, value in _texts(labels):
        if message := _key_problem(key):
            yield ("labels", key), message
        if not _LABEL_VALUE.fullmatch(value) or len(value) > _MAX_LABEL:
            yield ("labels", key), f"{_quoted(value)} is not a label's value: {_FORM}"


def _others(metadata: dict[str, Any]) -> Iterator[_Found]:
    size = 0
    for key, value in _texts(metadata.get("annotations")):
        size += len(key.encode()) + len(value.encode())
        if message := _key_problem(key.lower()):
            yield ("annotations", key), message
    if size > _MAX_ANNOTATIONS:
        yield ("annotations",), f"keys and values have {size} bytes, of which {_MAX_ANNOTATIONS} are allowed"
    finalizers = metadata.get("finalizers")
    for n, finalizer in enumerate(finalizers if isinstance(finalizers, list) else ()):
        if isinstance(finalizer, str) and (message := _key_problem(finalizer)):
            yield ("finalizers", n), message


def _name_problem(name: str, kind: str) -> str:
    pattern, longest, what = _DNS_SUBDOMAIN, _MAX_SUBDOMAIN, "subdomain (RFC 1123)"
    if kind in ("Namespace", "Service"):
        pattern, longest, what = _DNS_LABEL, _MAX_LABEL, "label (RFC 1123)"
    if kind == "ClusterTrustBundle":  # the name of its signer precedes
        name = name.rpartition(":")[2]
    if pattern.fullmatch(name) and len(name) <= longest:
        return ""
    return f"{_quoted(name)} is not a DNS {what} of at most {longest} characters"


def _key_problem(key: str) -> str:
    """What is wrong with a qualified name: `[DNS subdomain/]name`."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not _DNS_SUBDOMAIN.fullmatch(prefix) or len(prefix) > _MAX_SUBDOMAIN):
        return f"the key's prefix {_quoted(prefix)} is not a DNS subdomain of at most {_MAX_SUBDOMAIN} characters"
    if not _NAME_PART.fullmatch(name) or len(name) > _MAX_LABEL:
        return f"the key's name {_quoted(name)} is not valid: {_FORM}"
    return ""


def _texts(mapping: Any) -> Iterator[tuple[str, str]]:
    if isinstance(mapping, dict):
        yield from ((k, v) for k, v in mapping.items() if isinstance(v, str))


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_LABEL else text[:60] + "...")
