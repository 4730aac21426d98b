"""What GatewayParameters say of the data planes that a controller provisions for Gateways."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from fastgate.api.base import Duration, Model, fault

Labels = dict[str, str]
Object = dict[str, JsonValue]  # of a type of Kubernetes, which checks it when it is applied
Amount = Annotated[int, Field(ge=0, le=2**31 - 1)] | Annotated[str, Field(pattern=r"^[0-9]{1,3}%$")]


class ServiceParameters(Model):
    """The Service before the data planes."""

    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] | None = None
    annotations: Labels | None = None
    external_traffic_policy: Literal["Cluster", "Local"] | None = None
    load_balancer_class: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    load_balancer_source_ranges: Annotated[list[str], Field(max_length=64)] | None = None


class DisruptionBudget(Model):
    """How many data planes may be taken away at once; one of the two."""

    min_available: Amount | None = None
    max_unavailable: Amount | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.min_available is None) == (self.max_unavailable is None):
            raise fault("exactly one of minAvailable and maxUnavailable must be specified")
        return self


class Autoscaling(Model):
    """A HorizontalPodAutoscaler by CPU, which then says how many data planes there are."""

    min_replicas: Annotated[int, Field(ge=1, le=10_000)] = 2
    max_replicas: Annotated[int, Field(ge=1, le=10_000)]
    average_cpu_utilization: Annotated[int, Field(ge=1, le=1000)] = 70  # per cent of the request

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise fault("minReplicas must not be larger than maxReplicas")
        return self


class Drain(Model):
    """The end of a Pod: for `delay` it accepts on, unready, then it has `timeout` to finish what is open."""

    delay: Duration | None = None
    timeout: Duration | None = None


class EnvironmentVariable(Model):
    """An environment variable of the data planes."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    value: Annotated[str, Field(max_length=32768)] = ""


class Infrastructure(Model):
    """The data planes of a Gateway, as `fastgate controller` provisions them. Others take no notice of it."""

    kind: Literal["Deployment", "DaemonSet"] | None = None
    replicas: Annotated[int, Field(ge=0, le=10_000)] | None = None  # unset: whoever scales it says so
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: Annotated[list[str], Field(max_length=16)] | None = None
    resources: Object | None = None
    node_selector: Labels | None = None
    tolerations: Annotated[list[Object], Field(max_length=64)] | None = None
    affinity: Object | None = None
    topology_spread_constraints: Annotated[list[Object], Field(max_length=16)] | None = None
    priority_class_name: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    pod_labels: Labels | None = None
    pod_annotations: Labels | None = None
    args: Annotated[list[str], Field(max_length=64)] | None = None  # more options of `fastgate dataplane`
    env: Annotated[list[EnvironmentVariable], Field(max_length=64)] | None = None
    service: ServiceParameters | None = None
    pod_disruption_budget: DisruptionBudget | None = None
    autoscaling: Autoscaling | None = None
    network_policy: bool | None = None
    drain: Drain | None = None
