"""`fastgate controller`: provision and tell the data planes of a cluster's Gateways."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from fastgate import settings
from fastgate.cli import cluster, serving
from fastgate.translate.features import PROVISIONED_FEATURES
from fastgate.translate.mode import Mode


def controller(
    *,
    kubeconfig: cluster.Kubeconfig = "",
    context: cluster.Context = "",
    controller_name: cluster.Controller = cluster.CONTROLLER_NAME,
    watch_namespaces: cluster.WatchNamespaces = "",
    listen: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_LISTEN",
            metavar="HOST:PORT",
            callback=serving.checked(settings.host_port),
            help="Where data planes come to.",
        ),
    ] = "*:9443",
    advertise: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ADVERTISE",
            metavar="HOST:PORT",
            callback=serving.checked(lambda text: text and settings.host_port(text)),
            help="Where this replica is reached by data planes that came to another one. [default: as --listen]",
        ),
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ADDRESS",
            metavar="HOST:PORT",
            callback=serving.checked(settings.host_port),
            help="Where data planes reach any replica: a Service's.",
        ),
    ] = "fastgate.fastgate-system.svc:9443",
    image: Annotated[str, typer.Option(envvar="FASTGATE_IMAGE", help="Of data planes.")] = "fastgate",
    image_pull_policy: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_IMAGE_PULL_POLICY",
            metavar="Always|IfNotPresent|Never",
            help="Of the image. [default: Kubernetes' own]",
        ),
    ] = "",
    image_pull_secrets: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_IMAGE_PULL_SECRETS", metavar="NAME,...", help="Secrets in the namespaces of Gateways."
        ),
    ] = "",
    admin: serving.Admin = serving.ADMIN,
) -> None:
    """Run the control plane of a cluster: a Deployment of data planes and a Service for each Gateway.

    Replicas of it take turns: the holder of a Lease writes and takes the data planes, which serve on whatever becomes
    of it. GatewayParameters (spec.infrastructure) say what data planes run on.

    Example: fastgate controller --image registry.example.com/fastgate:1.0
    """
    listening = settings.host_port(listen)
    if listening is None:
        raise typer.BadParameter("--listen off: data planes have to come somewhere")
    reached = settings.host_port(advertise or listen) or listening
    config = cluster.reached(kubeconfig, context)
    from fastgate.kubernetes.client import Client  # noqa: PLC0415 - their libraries are there by now
    from fastgate.kubernetes.controller import Controller  # noqa: PLC0415
    from fastgate.kubernetes.controller_process import run  # noqa: PLC0415
    from fastgate.kubernetes.infrastructure.objects import Defaults  # noqa: PLC0415

    controller = Controller(
        Client(config),
        mode=Mode(controller=controller_name, features=PROVISIONED_FEATURES, guarded=True),
        namespaces=cluster.names(watch_namespaces),
        defaults=Defaults(image, address, image_pull_policy, cluster.names(image_pull_secrets)),
        address=settings.spelled(*reached),
    )
    sys.exit(asyncio.run(run(controller, listening, settings.host_port(admin))))
