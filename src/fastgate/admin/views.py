"""What the admin listener shows: health, readiness, metrics, status and configuration, of one runtime."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from fastgate import settings
from fastgate.ir import Plugin
from fastgate.plugins.values import redacted
from fastgate.translate.conditions import all_json
from fastgate.translate.expiry import certificates_of

if TYPE_CHECKING:
    from fastgate.ir import Endpoint
    from fastgate.runtime import Runtime

REDACTED = "[redacted]"
_SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"))


def ready(runtime: Runtime, *, draining: bool) -> tuple[bool, str]:
    """Say whether the configuration is live, and if not, why."""
    if draining:
        return False, "draining"
    if not runtime.report.generation:  # of which the sockets are bound, too
        return False, "no configuration is served yet"
    missing = runtime.manager.missing
    if missing:
        return False, f"{missing} of the workers are being replaced"
    return True, "ready"


def status(runtime: Runtime) -> dict[str, Any]:
    """Return what is served: generation, sockets as bound, the status of every object; and why nothing newer is."""
    return {
        "generation": runtime.manager.generation,
        "workers": runtime.manager.pids,
        "sockets": sockets(runtime),
        "endpoints": endpoints(runtime),
        "certificates": certificates(runtime, datetime.now(UTC)),
        "objects": all_json(runtime.report.statuses),
        "problems": [str(problem) for problem in runtime.report.problems],
        "refused": [str(problem) for problem in runtime.refused],
    }


def sockets(runtime: Runtime) -> list[dict[str, Any]]:
    """Return every listener with the address that is really bound, or the error that keeps it from being so."""
    if runtime.translation is None:
        return []
    bound, fates = runtime.manager.bound, runtime.manager.fates
    out = []
    for socket in runtime.translation.ir.sockets:
        host, port = bound.get(socket.key, (socket.address, socket.port))
        fate = fates.get(socket.key)
        out += [
            {
                "gateway": listener.gateway,
                "listener": listener.name,
                "protocol": listener.protocol,
                "hostname": listener.hostname,
                "port": socket.port,
                "address": settings.spelled(host or "*", port),
                "routes": len({match.rule.route for vhost in listener.hosts for match in vhost.matches}),
                "error": fate.error if fate is not None else None,
            }
            for listener in socket.listeners
        ]
    return out


def endpoints(runtime: Runtime) -> list[dict[str, Any]]:
    """Return the endpoints that are checked, and what the checks say."""
    return [
        {
            "cluster": one.cluster,
            "endpoint": authority(one.endpoint),
            "healthy": one.healthy,
            "last_change": one.why,
        }
        for one in runtime.manager.health.endpoints()
    ]


def certificates(runtime: Runtime, now: datetime) -> list[dict[str, Any]]:
    """Return the certificates that listeners show, and whether they are valid at this time."""
    if runtime.translation is None:
        return []
    return [
        {
            "listener": one.listener,
            "names": one.pair.names,
            "key_type": one.pair.key_type,
            "not_after": one.pair.not_after.isoformat(),
            "state": one.state(now),
        }
        for one in certificates_of(runtime.translation.ir)
    ]


def authority(endpoint: Endpoint) -> str:
    """Return `address:port`."""
    return settings.spelled(endpoint.address, endpoint.port)


def configuration(runtime: Runtime) -> dict[str, Any]:
    """Return the translated configuration and the endpoints, without what may be a credential.

    What a repr leaves out, such as keys of certificates, is left out here.
    """
    translation = runtime.translation
    if translation is None:
        return {}
    return {"ir": _plain(translation.ir), "endpoints": _plain(translation.endpoints)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.repr}
        if isinstance(value, Plugin):
            fields["config"] = json.loads(redacted(value.config))
        return fields
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    if isinstance(value, Enum | datetime):
        return value.value if isinstance(value, Enum) else value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        if len(value) == 2 and isinstance(value[0], str) and value[0].lower() in _SECRET_HEADERS:  # noqa: PLR2004 - a pair
            return [value[0], REDACTED]
        return [_plain(item) for item in value]
    return value
