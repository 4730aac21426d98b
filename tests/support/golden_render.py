"""Renders a translation as compact YAML data: what a reviewer has to see, one line for each match and condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from certificates import common_names

from fastgate.ir import (
    TLS12,
    TLS13,
    Endpoint,
    Filters,
    Forward,
    HeaderEdits,
    PathKind,
    PathRewrite,
    Redirect,
    Respond,
    Settings,
)
from fastgate.problems import field_path

if TYPE_CHECKING:
    from fastgate.ir import Ir, Match, Plugin, Relay, Rule, Socket, Tls, UpstreamTls, WeightedBackend
    from fastgate.translate import Translation
    from fastgate.translate.conditions import Condition, FilterStatus, ListenerStatus

_VERSIONS = {TLS12: "1.2", TLS13: "1.3"}
_PATHS = {PathKind.EXACT: "exact", PathKind.REGEX: "regex", PathKind.PREFIX: "prefix"}


def render(translation: Translation) -> dict[str, Any]:
    rules: dict[str, Rule] = {}
    document: dict[str, Any] = {
        "sockets": {socket.key: _socket(socket, rules, translation.ir) for socket in translation.ir.sockets}
    }
    document["rules"] = {key: _rule(rule) for key, rule in sorted(rules.items())}
    document["clusters"] = {cluster.key: _cluster(cluster.key, translation) for cluster in translation.ir.clusters}
    statuses = translation.statuses
    document["gatewayClasses"] = {
        name: _conditions(status.conditions)
        for name, status in statuses.gateway_classes.items()
        if name != "fastgate" or any(condition.status != "True" for condition in status.conditions)
    }
    document["gateways"] = {
        "/".join(name): {
            "conditions": _conditions(status.conditions),
            **({"attachedListenerSets": status.attached_listener_sets} if status.attached_listener_sets else {}),
            "listeners": {listener.name: _listener(listener) for listener in status.listeners},
        }
        for name, status in statuses.gateways.items()
    }
    document["listenerSets"] = {
        "/".join(name): {
            "conditions": _conditions(status.conditions),
            "listeners": {listener.name: _listener(listener) for listener in status.listeners},
        }
        for name, status in statuses.listener_sets.items()
    }
    document["routes"] = {
        _route(key): {_parent(entry.parent): _route_conditions(entry.conditions) for entry in status.parents}
        for key, status in sorted(statuses.routes.items())
    }
    document["filters"] = {"/".join(name): _filter(status) for name, status in statuses.filters.items()}
    document["backendTLSPolicies"] = {
        "/".join(name): {_parent(entry.parent): _route_conditions(entry.conditions) for entry in status.ancestors}
        for name, status in statuses.backend_tls_policies.items()
    }
    document["faults"] = [
        f"{'/'.join(fault.key)}: {field_path(fault.path)}: {fault.message}" for fault in translation.faults
    ]
    document["warnings"] = [f"{place}: {message}" for place, message in translation.warnings]
    return {key: value for key, value in document.items() if value}


def _socket(socket: Socket, rules: dict[str, Rule], ir: Ir) -> dict[str, Any]:
    listeners = {}
    for listener in socket.listeners:
        hosts: dict[str, Any] = (
            {"before routing": [_plugin(one) for one in listener.plugins]} if listener.plugins else {}
        )
        if listener.tls is not None:
            hosts["tls"] = _tls(listener.tls, ir)
        for host in listener.hosts:
            hosts[host.hostname or "any"] = [_match(match) for match in host.matches]
            for match in host.matches:
                same = rules.setdefault(match.rule.key, match.rule) == match.rule
                if not same:  # the filters of listeners make the difference
                    rules[f"{match.rule.key} at {listener.key}"] = match.rule
        for name in listener.names:
            hosts[name.hostname or "any"] = _relay(name.relay)
        listeners[f"{listener.key} {listener.hostname}".strip()] = hosts
    if socket.settings != Settings():
        return {"settings": _changes(socket.settings, Settings()), "listeners": listeners}
    return listeners


def _tls(tls: Tls, ir: Ir) -> dict[str, Any]:
    pairs = {pair.digest: f"{common_names(pair.chain)[0]} {pair.key_type}" for pair in ir.key_pairs}
    words = [f"{_VERSIONS[tls.min_version]} to {_VERSIONS[tls.max_version]}"]
    words += [f"ALPN {' '.join(tls.alpn)}"] if tls.alpn else []
    words += [f"{name} {getattr(tls, name)}" for name in ("ciphers", "ciphersuites", "groups") if getattr(tls, name)]
    if tls.clients is not None:
        bundles = {each.digest: each.bundle for each in ir.authorities}
        names = [name for digest in tls.clients.authorities for name in common_names(bundles[digest])]
        words.append(f"{'requires' if tls.clients.required else 'asks for'} certificates of {', '.join(names)}")
    shown = {each.hostname or "any": ", ".join(pairs[digest] for digest in each.certificates) for each in tls.choices}
    return {"terms": ", ".join(words), **shown}


def _relay(relay: Relay) -> list[str]:
    through = ", TLS passes through" if relay.passthrough else ""
    return [f"-> {relay.key}{through}", *(f"{b.weight} x {b.cluster or 'nothing'}" for b in relay.backends)]


def _changes(value: Any, default: Any) -> dict[str, Any]:
    changes = {}
    for name in value.__slots__:
        ours, theirs = getattr(value, name), getattr(default, name)
        if ours != theirs:
            nested = hasattr(ours, "__slots__") and name == "limits"
            changes[name] = _changes(ours, theirs) if nested else getattr(ours, "value", ours)
    return changes


def _match(match: Match) -> str:
    words = [_PATHS[match.path.kind], match.path.value or "/"]
    if match.method:
        words.append(match.method)
    words += [f"header {each.name}{_sign(each.kind)}{each.value}" for each in match.headers]
    words += [f"query {each.name}{_sign(each.kind)}{each.value}" for each in match.query]
    return f"{' '.join(words)} -> {match.rule.key}"


def _sign(kind: Any) -> str:
    return {"Exact": "=", "RegularExpression": "~"}[kind.value]


def _rule(rule: Rule) -> Any:
    words = []
    if rule.name:
        words.append(f"name {rule.name}")
    words += _filters(rule.filters)
    match rule.action:
        case Respond(status, reason):
            words.append(f"respond {status} {reason}")
        case Redirect() as redirect:
            words.append(_redirect(redirect))
        case Forward(backends, request_timeout, backend_timeout):
            words += [_backend(backend) for backend in backends]
            words += [f"request timeout {request_timeout} ms"] if request_timeout else []
            words += [f"backend timeout {backend_timeout} ms"] if backend_timeout else []
    return words[0] if len(words) == 1 else words


def _backend(backend: WeightedBackend) -> str:
    target = backend.cluster or f"respond {backend.respond.status} {backend.respond.reason}"
    return ", ".join([f"{backend.weight} x {target}", *_filters(backend.filters)])


def _redirect(redirect: Redirect) -> str:
    words = [f"redirect {redirect.status}"]
    for name in ("scheme", "hostname", "port"):
        value = getattr(redirect, name)
        if value is not None:
            words.append(f"{name} {value}")
    words += [_path(redirect.path)] if redirect.path else []
    return " ".join(words)


def _path(path: PathRewrite) -> str:
    return f"{'path' if path.kind is PathKind.EXACT else 'prefix'} {path.value!r}"


def _filters(filters: Filters) -> list[str]:
    words = _edits("request", filters.request) + _edits("response", filters.response)
    words += [f"rewrite hostname {filters.hostname}"] if filters.hostname is not None else []
    words += [f"rewrite {_path(filters.path)}"] if filters.path is not None else []
    return words + [_plugin(plugin) for plugin in filters.plugins]


def _plugin(plugin: Plugin) -> str:
    words = [f"plugin {plugin.name} {plugin.type} {plugin.config}", f"{plugin.timeout} ms"]
    words += ["deny" if plugin.deny else "skip", "inline" if plugin.inline else "offloaded"]
    words += ["+".join(sorted(plugin.phases))]
    words += [f"buffers {plugin.buffer_body}"] if plugin.buffer_body else []
    return ", ".join(words)


def _edits(side: str, edits: HeaderEdits) -> list[str]:
    return [
        *(f"{side} set {name}: {value}" for name, value in edits.set),
        *(f"{side} add {name}: {value}" for name, value in edits.add),
        *(f"{side} remove {name}" for name in edits.remove),
    ]


def _cluster(key: str, translation: Translation) -> list[str]:
    cluster = next(cluster for cluster in translation.ir.clusters if cluster.key == key)
    lines = [] if cluster.protocol.value == "http" else [f"protocol {cluster.protocol.value}"]
    lines += [f"PROXY protocol {cluster.send_proxy}"] if cluster.send_proxy else []
    check = cluster.health_check
    if check is not None:
        lines.append(
            f"health check {check.path} every {check.interval} ms, timeout {check.timeout} ms, "
            f"healthy {check.healthy}, unhealthy {check.unhealthy}"
        )
    lines += _upstream_tls(cluster.tls, translation.ir) if cluster.tls is not None else []
    lines += [_endpoint(endpoint) for endpoint in translation.endpoints.clusters[key]]
    return lines + [f"name {_endpoint(endpoint)}" for endpoint in translation.endpoints.names.get(key, ())]


def _upstream_tls(tls: UpstreamTls, ir: Ir) -> list[str]:
    bundles = {each.digest: each.bundle for each in ir.authorities}
    trusted = [name for digest in tls.authorities for name in common_names(bundles[digest])]
    trusted += ["of the system"] if tls.system_trust else []
    lines = [f"TLS {_VERSIONS[tls.min_version]} to {_VERSIONS[tls.max_version]}, server name {tls.server_name}"]
    lines += [f"TLS ALPN {', '.join(tls.alpn)}"] if tls.alpn else []
    lines += [f"TLS name {name}" for name in tls.names]
    lines += [f"TLS authorities {', '.join(sorted(trusted))}"]
    if tls.certificate:
        chain = next(pair.chain for pair in ir.key_pairs if pair.digest == tls.certificate)
        lines.append(f"TLS shows {common_names(chain)[0]}")
    return lines


def _endpoint(endpoint: Endpoint) -> str:
    weight = "" if endpoint.weight == 1 else f" weight {endpoint.weight}"
    return f"{endpoint.address} port {endpoint.port}{weight}"


def _conditions(conditions: tuple[Condition, ...]) -> list[str]:
    return [
        f"{each.type} {each.status} {each.reason}"
        + (f": {each.message}" if (each.status, each.type) not in _QUIET and each.message else "")
        for each in conditions
    ]


_QUIET = {
    ("True", "Accepted"),
    ("True", "ResolvedRefs"),
    ("True", "SupportedVersion"),
    ("Unknown", "Programmed"),
    ("False", "Conflicted"),
}


def _listener(listener: ListenerStatus) -> dict[str, Any]:
    good = [
        "Accepted True Accepted",
        "Programmed Unknown Pending",
        "Conflicted False NoConflicts",
        "ResolvedRefs True ResolvedRefs",
    ]
    conditions = _conditions(listener.conditions)
    return {
        "kinds": " ".join(kind for _, kind in listener.supported_kinds),
        "attached": listener.attached_routes,
        "conditions": "all good" if conditions == good else conditions,
    }


def _route(key: tuple[str, str, str]) -> str:
    """An HTTPRoute by its name, others by their kind as well."""
    kind, namespace, name = key
    return "/".join((namespace, name) if kind == "HTTPRoute" else key)


def _route_conditions(conditions: tuple[Condition, ...]) -> list[str] | str:
    lines = _conditions(conditions)
    return "all good" if lines == ["Accepted True Accepted", "ResolvedRefs True ResolvedRefs"] else lines


def _filter(status: FilterStatus) -> Any:
    own = _conditions(status.conditions)
    if not status.ancestors:
        return own[0] if len(own) == 1 else own
    return {
        "conditions": own,
        "targets": {_parent(entry.parent): _conditions(entry.conditions)[0] for entry in status.ancestors},
    }


def _parent(parent: Any) -> str:
    words = [parent.kind or "Gateway", f"{parent.namespace}/{parent.name}" if parent.namespace else parent.name]
    words += [f"section {parent.section_name}"] if parent.section_name else []
    words += [f"port {parent.port}"] if parent.port else []
    return " ".join(words)
