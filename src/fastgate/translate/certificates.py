"""References of listeners to certificates: which ones they have, and the reason where one cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate.certificates import CertificateError, KeyPair, key_pair_of
from fastgate.translate.conditions import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.store import Store
    from fastgate.translate.grants import Grants
    from fastgate.translate.listeners import Attachable

_INVALID = "InvalidCertificateRef"


class Certificates:
    """Gives listeners their certificates, store after store, and reads a Secret that did not change once only."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[Any, KeyPair | str]] = {}  # by id of the Secret, which the value keeps alive

    def resolve(self, listeners: Iterable[Attachable], store: Store, grants: Grants) -> None:
        """Set `certificates` and `unresolved` of every listener that terminates TLS."""
        before, self._read = self._read, {}
        for listener in listeners:
            listener.certificates, listener.unresolved = (), None
            if not terminates(listener):
                continue
            refs = listener.spec.tls.certificate_refs if listener.spec.tls is not None else None
            found = [self._resolve(listener, ref, store, grants, before) for ref in refs or ()]
            listener.certificates = tuple(pair for pair in found if isinstance(pair, KeyPair))
            refusals = {each[1]: each[0] for each in found if not isinstance(each, KeyPair)}
            if not found:
                refusals["the listener has no certificateRefs"] = _INVALID
            if refusals:
                listener.unresolved = (next(iter(refusals.values())), "; ".join(refusals))

    def _resolve(
        self, listener: Attachable, ref: Any, store: Store, grants: Grants, before: dict[int, tuple[Any, KeyPair | str]]
    ) -> KeyPair | tuple[str, str]:
        """Return a certificate, or the reason of ResolvedRefs=False and a message."""
        group, kind = ref.group or "", ref.kind or "Secret"
        namespace = ref.namespace or listener.namespace
        place = f"{kind} {namespace}/{ref.name}"
        if not grants.allow((GROUP, listener.owner, listener.namespace), (group, kind, namespace, ref.name)):
            return "RefNotPermitted", f"no ReferenceGrant in {namespace} permits {kind} {ref.name}"
        if (group, kind) != ("", "Secret"):
            return _INVALID, f"{group or 'core'}/{kind} is not a kind of certificate that is supported"
        secret = store.get(kind, namespace, ref.name)
        if secret is None:
            return _INVALID, f"{place} does not exist"
        entry = self._read.get(id(secret)) or before.get(id(secret)) or (secret, _read(secret))
        self._read[id(secret)] = entry
        return (_INVALID, f"{place}: {entry[1]}") if isinstance(entry[1], str) else entry[1]


def terminates(listener: Attachable) -> bool:
    """Say whether TLS ends at a listener."""
    tls = listener.spec.tls
    passes = tls is not None and tls.mode == "Passthrough"
    return listener.spec.protocol in ("HTTPS", "TLS") and not passes


def _read(secret: Any) -> KeyPair | str:
    try:
        return key_pair_of(secret)
    except CertificateError as error:
        return str(error)
