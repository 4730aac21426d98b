"""References to authorities: ConfigMaps, Secrets and ClusterTrustBundles with certificates to verify others by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastgate.certificates import CertificateError, authorities, secret_value

if TYPE_CHECKING:
    from fastgate.ir import Authorities
    from fastgate.store import Store

_KEY = "ca.crt"
_KINDS = (("", "ConfigMap"), ("", "Secret"), ("certificates.k8s.io", "ClusterTrustBundle"))


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a reference gives no authorities. `of_kind` says that nothing of its kind could."""

    message: str
    of_kind: bool = False


class TrustAnchors:
    """Resolves references to authorities, store after store; an object that did not change is read once only."""

    def __init__(self) -> None:
        self._store: Store
        self._read: dict[int, tuple[Any, Authorities | Refused]] = {}  # by id of the object, kept alive by the value
        self._before: dict[int, tuple[Any, Authorities | Refused]] = {}

    def update(self, store: Store) -> None:
        """Resolve against this store from now on."""
        self._store = store
        self._before, self._read = self._read, {}

    def resolve(self, namespace: str, ref: Any) -> Authorities | Refused:
        """Return what a reference to an object of `namespace`, or of the cluster, stands for."""
        group, kind = ref.group, ref.kind
        if (group, kind) not in _KINDS:
            return Refused(f"{group or 'core'}/{kind} is not a kind of authorities that is supported", of_kind=True)
        space = "" if kind == "ClusterTrustBundle" else namespace
        source = self._store.get(kind, space, ref.name)
        place = f"{kind} {space}/{ref.name}" if space else f"{kind} {ref.name}"
        if source is None:
            return Refused(f"{place} does not exist")
        entry = self._read.get(id(source)) or self._before.get(id(source)) or (source, _read(kind, source, place))
        self._read[id(source)] = entry
        return entry[1]


def _read(kind: str, source: Any, place: str) -> Authorities | Refused:
    try:
        if kind == "ClusterTrustBundle":
            return authorities(source.spec.trust_bundle.encode(), "spec.trustBundle")
        if kind == "Secret":
            return authorities(secret_value(source, _KEY))
        text = (source.data or {}).get(_KEY)
        return Refused(f"{place}: has no {_KEY}") if text is None else authorities(text.encode())
    except CertificateError as error:
        return Refused(f"{place}: {error}")
