"""References of Gateways and listeners to certificates and authorities, and the reasons where some cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate.certificates import CertificateError, key_pair_of
from fastgate.ir import Authorities, KeyPair
from fastgate.translate.authorities import TrustAnchors
from fastgate.translate.conditions import GROUP
from fastgate.translate.gateways import INSECURE
from fastgate.translate.listener_tls import tls_of
from fastgate.translate.listeners import terminates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate.store import Store
    from fastgate.translate.gateways import ManagedGateway
    from fastgate.translate.grants import Grants
    from fastgate.translate.listeners import Attachable

_Refusal = tuple[str, str]  # reason of ResolvedRefs=False, message


class Certificates:
    """Gives Gateways and listeners what their references stand for, store after store.

    An object that did not change is read once only.
    """

    def __init__(self) -> None:
        self._store: Store
        self._grants: Grants
        self._anchors = TrustAnchors()
        self._read: dict[int, tuple[Any, KeyPair | str]] = {}  # by id of the Secret, which the value keeps alive
        self._before: dict[int, tuple[Any, KeyPair | str]] = {}

    def resolve(self, gateways: Iterable[ManagedGateway], store: Store, grants: Grants) -> None:
        """Set what follows from the references of Gateways, and of their listeners that terminate TLS."""
        self._store, self._grants = store, grants
        self._anchors.update(store)
        self._before, self._read = self._read, {}
        for gateway in gateways:
            self._gateway(gateway)
            gateway.frontend_faults = {}
            for listener in gateway.candidates:
                listener.certificates, listener.authorities, listener.tls = (), (), None
                listener.unresolved, listener.distrust, listener.reference_faults = None, None, ()
                if terminates(listener):
                    self._listener(listener, gateway)

    def _gateway(self, gateway: ManagedGateway) -> None:
        gateway.client_certificate, gateway.unresolved = None, None
        ref = gateway.client_certificate_ref
        if ref is not None:
            found = self._key_pair("Gateway", gateway.name[0], ref, "InvalidClientCertificateRef")
            if isinstance(found, KeyPair):
                gateway.client_certificate = found
            else:
                gateway.unresolved = found

    def _listener(self, listener: Attachable, gateway: ManagedGateway) -> None:
        path, validation = _validation(gateway, listener.port)
        tls = listener.spec.tls
        refs = tls.certificate_refs if tls is not None else None
        pairs = [self._key_pair(listener.owner, listener.namespace, ref, "InvalidCertificateRef") for ref in refs or ()]
        trusted = [
            self._authorities(listener.gateway[0], ref)
            for ref in (validation.ca_certificate_refs if validation is not None else ())
        ]
        listener.certificates = tuple(pair for pair in pairs if isinstance(pair, KeyPair))
        listener.authorities = tuple(found for found in trusted if isinstance(found, Authorities))
        refusals = {each[1]: each[0] for each in (*pairs, *trusted) if isinstance(each, tuple)}
        if not pairs:
            refusals["the listener has no certificateRefs"] = "InvalidCertificateRef"
        if refusals:
            listener.unresolved = (next(iter(refusals.values())), "; ".join(refusals))
        listener.reference_faults = tuple(
            (("tls", "certificateRefs", index), *pair) for index, pair in enumerate(pairs) if isinstance(pair, tuple)
        )
        gateway.frontend_faults.update(
            ((*path, "validation", "caCertificateRefs", index), each)
            for index, each in enumerate(trusted)
            if isinstance(each, tuple)
        )
        if trusted and not listener.authorities:
            messages = dict.fromkeys(each[1] for each in trusted if isinstance(each, tuple))
            listener.distrust = ("NoValidCACertificate", f"no authority is left: {'; '.join(messages)}")
        elif listener.certificates and listener.options is not None:
            required = validation is None or validation.mode != INSECURE
            listener.tls = tls_of(
                listener.options, listener.hostname, listener.certificates, listener.authorities, required=required
            )

    def _key_pair(self, owner: str, place: str, ref: Any, invalid: str) -> KeyPair | _Refusal:
        """Resolve the reference of an object of kind `owner` and namespace `place`; `invalid` is the reason to give."""
        group, kind = ref.group or "", ref.kind or "Secret"
        namespace = ref.namespace or place
        if not self._grants.allow((GROUP, owner, place), (group, kind, namespace, ref.name)):
            return _not_permitted(namespace, kind, ref)
        if (group, kind) != ("", "Secret"):
            return invalid, f"{group or 'core'}/{kind} is not a kind of certificate that is supported"
        secret = self._store.get(kind, namespace, ref.name)
        if secret is None:
            return invalid, f"{kind} {namespace}/{ref.name} does not exist"
        entry = self._read.get(id(secret)) or self._before.get(id(secret)) or (secret, _read(secret))
        self._read[id(secret)] = entry
        found = entry[1]
        return (invalid, f"{kind} {namespace}/{ref.name}: {found}") if isinstance(found, str) else found

    def _authorities(self, place: str, ref: Any) -> Authorities | _Refusal:
        """Resolve a reference of the Gateway's `tls.frontend`."""
        namespace = ref.namespace or place
        if not self._grants.allow((GROUP, "Gateway", place), (ref.group, ref.kind, namespace, ref.name)):
            return _not_permitted(namespace, ref.kind, ref)
        found = self._anchors.resolve(namespace, ref)
        if isinstance(found, Authorities):
            return found
        return ("InvalidCACertificateKind" if found.of_kind else "InvalidCACertificateRef", found.message)


def _validation(gateway: ManagedGateway, port: int) -> tuple[tuple[str | int, ...], Any]:
    """Return how clients' certificates are checked on a port, or None, and where that is said.

    What is said of a port replaces the default.
    """
    tls = gateway.source.spec.tls
    place = ("spec", "tls", "frontend")
    if tls is None or tls.frontend is None:
        return place, None
    for index, entry in enumerate(tls.frontend.per_port or ()):
        if entry.port == port:
            return (*place, "perPort", index, "tls"), entry.tls.validation
    return (*place, "default"), tls.frontend.default.validation


def _not_permitted(namespace: str, kind: str, ref: Any) -> _Refusal:
    return "RefNotPermitted", f"no ReferenceGrant in {namespace} permits {kind} {ref.name}"


def _read(secret: Any) -> KeyPair | str:
    try:
        return key_pair_of(secret)
    except CertificateError as error:
        return str(error)
