"""What a BackendTLSPolicy, or the `tls` of a Backend, says of TLS to its endpoints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastgate.ir import UpstreamTls
from fastgate.translate import tls_options
from fastgate.translate.authorities import Refused

if TYPE_CHECKING:
    from fastgate.ir import Authorities
    from fastgate.translate.authorities import TrustAnchors

_Refusal = tuple[str, str]  # reason of a condition that is False, message
_Fault = tuple[tuple[str | int, ...], str]  # path of a field, message


@dataclass(frozen=True, slots=True)
class Barred:
    """Why nobody may speak to a backend. `reason` is for the ResolvedRefs of its routes, if nothing else reports it."""

    message: str
    reason: str = ""


Terms = UpstreamTls | Barred


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of a policy, or of the `tls` of a Backend.

    `refusal`, of Accepted=False, says why the targets cannot be spoken to. `unresolved` is of ResolvedRefs=False, which
    leaves the authorities that could be resolved.
    """

    tls: UpstreamTls
    authorities: tuple[Authorities, ...] = ()
    refusal: _Refusal | None = None
    unresolved: _Refusal | None = None
    faults: tuple[_Fault, ...] = ()


def of_policy(policy: Any, anchors: TrustAnchors) -> Judgement:
    """Judge a BackendTLSPolicy."""
    validation = policy.spec.validation
    faults: list[_Fault] = []
    well_known = validation.well_known_ca_certificates
    if well_known not in (None, "System"):
        message = f"{well_known} are no authorities that are known: System are"
        faults.append((("spec", "validation", "wellKnownCACertificates"), message))
    names = tuple(
        f"DNS:{name.hostname.lower()}" if name.type == "Hostname" else f"URI:{name.uri}"
        for name in validation.subject_alt_names or ()
    )
    tls = UpstreamTls(validation.hostname, names, system_trust=well_known == "System")
    tls = _with_options(tls, policy.spec.options or {}, faults)
    return _judge(tls, policy.metadata.namespace, validation.ca_certificate_refs, anchors, tuple(faults))


def of_backend(backend: Any, anchors: TrustAnchors) -> Judgement:
    """Judge the `tls` of a Backend that has one."""
    spec = backend.spec.tls
    tls = UpstreamTls(spec.hostname, system_trust=spec.well_known_ca_certificates is not None)
    return _judge(tls, backend.metadata.namespace, spec.ca_certificate_refs, anchors, ())


def _with_options(tls: UpstreamTls, options: dict[str, str], faults: list[_Fault]) -> UpstreamTls:
    unknown = tls_options.unknown(options, tls_options.VERSIONS)
    faults.extend((("spec", "options", key), "is no option that is known") for key in unknown)
    try:
        first, last = tls_options.versions(options)
    except tls_options.OptionError as error:
        faults.append((("spec", "options", error.key), str(error)))
        return tls
    return replace(tls, min_version=first, max_version=last)


def _judge(tls: UpstreamTls, namespace: str, refs: Any, anchors: TrustAnchors, faults: tuple[_Fault, ...]) -> Judgement:
    found = [anchors.resolve(namespace, ref) for ref in refs or ()]
    trusted = {each.digest: each for each in found if not isinstance(each, Refused)}
    refused = [each for each in found if isinstance(each, Refused)]
    unresolved = refusal = None
    if refused:
        reason = "InvalidKind" if refused[0].of_kind else "InvalidCACertificateRef"
        unresolved = (reason, "; ".join(dict.fromkeys(each.message for each in refused)))
        if not trusted:
            refusal = ("NoValidCACertificate", f"no authority is left: {unresolved[1]}")
    if faults:
        refusal = ("Invalid", "; ".join(f"{path[-1]}: {message}" for path, message in faults))
    tls = replace(tls, authorities=tuple(sorted(trusted)))
    return Judgement(tls, tuple(trusted.values()), refusal, unresolved, faults)
