"""The objects of a Gateway's data planes, as they are to be. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from fastgate.durations import milliseconds
from fastgate.kubernetes.infrastructure import names

if TYPE_CHECKING:
    from collections.abc import Mapping

IDENTITY, RUN = "/etc/fastgate/identity", "/run/fastgate"
ADMIN_PORT = 9901  # or the next one that is no listener's
DRAIN_DELAY, DRAIN_TIMEOUT = 5_000, 60_000  # ms that a Pod accepts on once it is to end, and has for what is open then
_GRACE = 5  # seconds for the process itself to end
_USER = 65532

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for all Gateways.

    Attributes:
        image: of data planes.
        controller: "HOST:PORT" that they are told.
        image_pull_policy: of the image; "": Kubernetes' own.
        image_pull_secrets: names of Secrets, which have to be in the Gateways' namespaces.
    """

    image: str
    controller: str
    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Everything that a Gateway's objects follow from.

    Attributes:
        gateway: the resource.
        ports: protocol and port of the Service, sorted: ("TCP", 443). Never empty.
        identity: tls.crt, tls.key and ca.crt.
        instance: tells the objects of several controllers apart; see `names.instance_of`.
        parameters: what `translate.parameters.infrastructure_of` says.
        addresses: that spec.addresses asks for.
        is_held: nobody knows what is wanted: what is there stays as it is, and nothing is made.
    """

    gateway: Any
    ports: tuple[tuple[str, int], ...]
    identity: Mapping[str, bytes] = field(repr=False)
    instance: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    is_held: bool = False

    @property
    def name(self) -> str:
        """The name of its objects."""
        return names.object_name(self.gateway.metadata.name, self.gateway.spec.gateway_class_name)


def documents(wanted: Wanted, defaults: Defaults) -> list[Document]:
    """Return the objects in the order in which they are to be applied."""
    parameters = wanted.parameters
    found = [_account(wanted), _secret(wanted), _service(wanted), _workload(wanted, defaults)]
    if parameters.get("pod_disruption_budget") is not None:
        found.append(_disruption_budget(wanted))
    if parameters.get("autoscaling") is not None and _kind(wanted) == "Deployment":
        found.append(_autoscaler(wanted))
    if parameters.get("network_policy"):
        found.append(_network_policy(wanted))
    return found


def _object(
    wanted: Wanted, api_version: str, kind: str, annotations: Mapping[str, str] | None = None, **rest: Any
) -> Document:
    gateway = wanted.gateway
    metadata: Document = {
        "name": wanted.name,
        "namespace": gateway.metadata.namespace,
        "labels": _labels(wanted),
        "ownerReferences": [
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": gateway.metadata.name,
                "uid": gateway.metadata.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    said = {**_said(wanted, "annotations"), **(annotations or {})}
    if said:
        metadata["annotations"] = said
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _said(wanted: Wanted, what: str) -> dict[str, str]:
    """The labels or annotations of spec.infrastructure."""
    infrastructure = wanted.gateway.spec.infrastructure
    said = getattr(infrastructure, what) if infrastructure is not None else None
    return dict(said or {})


def _labels(wanted: Wanted) -> dict[str, str]:
    return {
        **_said(wanted, "labels"),
        **_selector(wanted),
        names.MANAGED_BY: names.MANAGER,
        names.INSTANCE: wanted.instance,
    }


def _selector(wanted: Wanted) -> dict[str, str]:
    spec, metadata = wanted.gateway.spec, wanted.gateway.metadata
    return {
        names.GATEWAY_NAME: names.label_value(metadata.name),
        names.GATEWAY_CLASS_NAME: names.label_value(spec.gateway_class_name),
    }


def _account(wanted: Wanted) -> Document:
    """The Pods' ServiceAccount: they have nothing to say to the API server."""
    return _object(wanted, "v1", "ServiceAccount", automountServiceAccountToken=False)


def _secret(wanted: Wanted) -> Document:
    data = {name: base64.b64encode(content).decode() for name, content in sorted(wanted.identity.items())}
    return _object(wanted, "v1", "Secret", type="kubernetes.io/tls", data=data)


def _service(wanted: Wanted) -> Document:
    said = wanted.parameters.get("service", {})
    type_ = said.get("type", "LoadBalancer")
    spec: Document = {
        "type": type_,
        "selector": _selector(wanted),
        "ports": [
            {"name": f"{protocol.lower()}-{port}", "protocol": protocol, "port": port, "targetPort": port}
            for protocol, port in wanted.ports
        ],
    }
    if type_ != "ClusterIP" and "external_traffic_policy" in said:
        spec["externalTrafficPolicy"] = said["external_traffic_policy"]
    if type_ == "LoadBalancer":
        if "load_balancer_class" in said:
            spec["loadBalancerClass"] = said["load_balancer_class"]
        if "load_balancer_source_ranges" in said:
            spec["loadBalancerSourceRanges"] = list(said["load_balancer_source_ranges"])
        if wanted.addresses:
            spec["loadBalancerIP"] = wanted.addresses[0]
    return _object(wanted, "v1", "Service", said.get("annotations"), spec=spec)


def _kind(wanted: Wanted) -> str:
    kind: str = wanted.parameters.get("kind", "Deployment")
    return kind


def _workload(wanted: Wanted, defaults: Defaults) -> Document:
    parameters = wanted.parameters
    pod_labels = {**parameters.get("pod_labels", {}), **_labels(wanted)}
    metadata: Document = {"labels": pod_labels}
    annotations = {**_said(wanted, "annotations"), **parameters.get("pod_annotations", {})}
    if annotations:
        metadata["annotations"] = annotations
    spec: Document = {
        "selector": {"matchLabels": _selector(wanted)},
        "template": {"metadata": metadata, "spec": _pod(wanted, defaults)},
    }
    if _kind(wanted) == "Deployment" and "replicas" in parameters and "autoscaling" not in parameters:
        spec["replicas"] = parameters["replicas"]
    return _object(wanted, "apps/v1", _kind(wanted), spec=spec)


def _pod(wanted: Wanted, defaults: Defaults) -> Document:
    parameters = wanted.parameters
    drain = {name: milliseconds(value) for name, value in parameters.get("drain", {}).items()}
    delay, timeout = drain.get("delay", DRAIN_DELAY), drain.get("timeout", DRAIN_TIMEOUT)
    secrets = parameters.get("image_pull_secrets") or defaults.image_pull_secrets
    placed = {
        "nodeSelector": parameters.get("node_selector"),
        "tolerations": parameters.get("tolerations"),
        "affinity": parameters.get("affinity"),
        "topologySpreadConstraints": parameters.get("topology_spread_constraints"),
        "priorityClassName": parameters.get("priority_class_name"),
        "imagePullSecrets": [{"name": name} for name in secrets],
    }
    return {
        "serviceAccountName": wanted.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": -(-(delay + timeout) // 1000) + _GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [_container(wanted, defaults, delay, timeout)],
        "volumes": [
            {"name": "identity", "secret": {"secretName": wanted.name, "defaultMode": 0o440}},
            {"name": "run", "emptyDir": {"medium": "Memory"}},
        ],
        **{name: value for name, value in placed.items() if value},
    }


def _container(wanted: Wanted, defaults: Defaults, delay: int, timeout: int) -> Document:
    parameters = wanted.parameters
    policy = parameters.get("image_pull_policy", defaults.image_pull_policy)
    environment = {"RUNTIME_DIRECTORY": RUN, "TMPDIR": RUN}
    environment |= {each.name: each.value for each in parameters.get("env", ())}
    resources = parameters.get("resources")
    return {
        "name": "fastgate",
        "image": parameters.get("image", defaults.image),
        **({"imagePullPolicy": policy} if policy else {}),
        "args": [
            "dataplane",
            f"--controller={defaults.controller}",
            f"--identity={IDENTITY}",
            f"--state={RUN}/state",
            f"--admin=*:{_admin_port(wanted)}",
            f"--drain-delay={delay / 1000:g}",
            f"--drain-timeout={timeout / 1000:g}",
            *parameters.get("args", ()),
        ],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        # Not the listeners': nobody needs them here, and every new one would have all Pods replaced.
        "ports": [{"name": "admin", "containerPort": _admin_port(wanted), "protocol": "TCP"}],
        "startupProbe": {"httpGet": {"path": "/healthz", "port": "admin"}, "periodSeconds": 1, "failureThreshold": 60},
        # They ask a process that translates, beside those that serve: slow to answer is not unable to serve.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "admin"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
            "failureThreshold": 2,
        },
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": "admin"}, "periodSeconds": 10, "timeoutSeconds": 5},
        "resources": resources if resources is not None else {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "volumeMounts": [
            {"name": "identity", "mountPath": IDENTITY, "readOnly": True},
            {"name": "run", "mountPath": RUN},
        ],
    }


def _admin_port(wanted: Wanted) -> int:
    return next(port for port in count(ADMIN_PORT) if ("TCP", port) not in wanted.ports)


def _disruption_budget(wanted: Wanted) -> Document:
    said = wanted.parameters["pod_disruption_budget"]
    amounts = {"minAvailable": said.min_available, "maxUnavailable": said.max_unavailable}
    spec = {"selector": {"matchLabels": _selector(wanted)}}
    spec |= {name: amount for name, amount in amounts.items() if amount is not None}
    return _object(wanted, "policy/v1", "PodDisruptionBudget", spec=spec)


def _autoscaler(wanted: Wanted) -> Document:
    said = wanted.parameters["autoscaling"]
    target = {"type": "Utilization", "averageUtilization": said.average_cpu_utilization}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": wanted.name},
        "minReplicas": said.min_replicas,
        "maxReplicas": said.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
    }
    return _object(wanted, "autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)


def _network_policy(wanted: Wanted) -> Document:
    """Whoever may reach the Pods reaches the listeners and the admin port, and nothing else."""
    ports = [{"protocol": protocol, "port": port} for protocol, port in wanted.ports]
    spec = {
        "podSelector": {"matchLabels": _selector(wanted)},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [*ports, {"protocol": "TCP", "port": _admin_port(wanted)}]}],
    }
    return _object(wanted, "networking.k8s.io/v1", "NetworkPolicy", spec=spec)
