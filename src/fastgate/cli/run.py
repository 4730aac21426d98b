"""`fastgate run`: serve files."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from fastgate import settings
from fastgate.cli import cluster, serving
from fastgate.translate.mode import Mode

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config
    from fastgate.server import Front


def _pool_text(text: str) -> str:
    from fastgate.kubernetes.addresses import Pool  # noqa: PLC0415 - only this option needs it

    try:
        Pool.parse(text)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from None
    return text


def _cluster(config: Config, mode: Mode, *, pool: str, namespaces: tuple[str, ...], instance: str) -> Front:
    from fastgate.kubernetes.addresses import Pool  # noqa: PLC0415 - their libraries are there by now
    from fastgate.kubernetes.client import Client  # noqa: PLC0415
    from fastgate.kubernetes.front import Cluster  # noqa: PLC0415

    return Cluster(Client(config), mode=mode, pool=Pool.parse(pool), namespaces=namespaces, instance=instance)


def run(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and directories of YAML or JSON; reloaded when they change.", show_default=False),
    ] = None,
    *,
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes", envvar="FASTGATE_KUBERNETES", help="Serve what a cluster has, in place of files."),
    ] = False,
    kubeconfig: cluster.Kubeconfig = "",
    context: cluster.Context = "",
    controller_name: cluster.Controller = cluster.CONTROLLER_NAME,
    address_pool: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ADDRESS_POOL",
            metavar="ADDRESS,FIRST-LAST,...",
            callback=_pool_text,
            help="Addresses of this host, one for each Gateway. [default: all of them for every Gateway]",
        ),
    ] = "",
    watch_namespaces: cluster.WatchNamespaces = "",
    zone: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ZONE",
            metavar="NAME",
            help="That this host is in: endpoints that are meant for it are preferred.",
        ),
    ] = "",
    workers: serving.Workers = None,
    port_map: serving.PortMap = "",
    access_log: serving.AccessLogForm = None,
    access_log_file: serving.AccessLogFile = None,
    admin: serving.Admin = serving.ADMIN,
    drain_delay: serving.DrainDelay = 0.0,
    drain_timeout: serving.DrainTimeout = serving.DRAIN_TIMEOUT,
    orphan_timeout: serving.OrphanTimeout = serving.ORPHAN_TIMEOUT,
    memory_limit: serving.MemoryLimit = 0,
    plugin_memory_limit: serving.PluginMemoryLimit = serving.PLUGIN_MEMORY_LIMIT,
    strict: Annotated[
        bool, typer.Option("--strict", envvar="FASTGATE_STRICT", help="Refuse a set of files with an error in it.")
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", envvar="FASTGATE_KEEP_GOING", help="Start although objects are refused or ports taken."
        ),
    ] = False,
    instance: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_INSTANCE",
            help="Name under which a restarted gateway finds its workers. [default: from PATHS and --port-map]",
        ),
    ] = "",
    dev: Annotated[
        bool,
        typer.Option(
            "--dev", help="Reload filters when their sources change, of packages that are installed editable."
        ),
    ] = False,
) -> None:
    """Serve Gateway API resources from files or a cluster, and what changes in them.

    Signals: TERM and INT drain (twice: end at once), HUP reloads, USR1 opens the access log file again,
    USR2 hands over to the program that is installed now.

    Example: fastgate run gateway.yaml routes/ --port-map 80=8080

    Example: fastgate run --kubernetes --address-pool 192.0.2.10-192.0.2.19
    """
    if kubernetes == bool(paths):
        raise typer.BadParameter("either PATHS or --kubernetes says what is served")
    from fastgate.plugins.manager import Hooks  # noqa: PLC0415 - only this command needs the engine

    hooks = Hooks()
    if kubernetes:
        mode = Mode(controller=controller_name, guarded=True, zone=zone)
        config, namespaces = cluster.reached(kubeconfig, context), cluster.names(watch_namespaces)
        front = _cluster(config, mode, pool=address_pool, namespaces=namespaces, instance=instance)
    else:
        from fastgate.standalone import Standalone  # noqa: PLC0415

        front = Standalone(paths or [], ports=settings.port_map(port_map), instance=instance, dev=dev, hooks=hooks)
    serving.serve(
        front,
        hooks,
        workers=workers,
        port_map=port_map,
        access_log=access_log,
        access_log_file=access_log_file,
        admin=admin,
        drain_delay=drain_delay,
        drain_timeout=drain_timeout,
        orphan_timeout=orphan_timeout,
        memory_limit=memory_limit,
        plugin_memory_limit=plugin_memory_limit,
        strict=strict,
        keep_going=keep_going,
    )
