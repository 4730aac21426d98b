"""`fastgate run`: serve files."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from fastgate import settings
from fastgate.cli import cluster
from fastgate.ir import AccessLog  # noqa: TC001 - typer reads the annotations
from fastgate.translate.mode import Mode

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config
    from fastgate.server import Front


def _ports(text: str) -> dict[int, int]:
    try:
        return settings.port_map(text)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from None


def _port_text(text: str) -> str:
    _ports(text)
    return text


def _admin(text: str) -> str:
    try:
        settings.host_port(text)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from None
    return text


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
    watch_namespaces: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_WATCH_NAMESPACES", metavar="NAME,...", help="Follow these namespaces only. [default: all]"
        ),
    ] = "",
    zone: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ZONE",
            metavar="NAME",
            help="That this host is in: endpoints that are meant for it are preferred.",
        ),
    ] = "",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, envvar="FASTGATE_WORKERS", help="Worker processes. [default: CPUs that may be used]"
        ),
    ] = None,
    port_map: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_PORT_MAP",
            metavar="80=8080,...",
            callback=_port_text,
            help="Bind other ports than the listeners name.",
        ),
    ] = "",
    access_log: Annotated[
        AccessLog | None,
        typer.Option(envvar="FASTGATE_ACCESS_LOG", help="Form of access logs, whatever Gateways ask for."),
    ] = None,
    access_log_file: Annotated[
        Path | None,
        typer.Option(
            envvar="FASTGATE_ACCESS_LOG_FILE", help="Append access logs here; SIGUSR1 opens it again. [default: stdout]"
        ),
    ] = None,
    admin: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_ADMIN", metavar="HOST:PORT|off", callback=_admin, help="Health, metrics, status."
        ),
    ] = "127.0.0.1:9901",
    strict: Annotated[
        bool, typer.Option("--strict", envvar="FASTGATE_STRICT", help="Refuse a set of files with an error in it.")
    ] = False,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", envvar="FASTGATE_KEEP_GOING", help="Start although objects are refused or ports taken."
        ),
    ] = False,
    drain_delay: Annotated[
        float, typer.Option(min=0, envvar="FASTGATE_DRAIN_DELAY", help="Seconds to accept on after SIGTERM, unready.")
    ] = 0.0,
    drain_timeout: Annotated[
        float,
        typer.Option(min=0, envvar="FASTGATE_DRAIN_TIMEOUT", help="Seconds for open requests and tunnels to finish."),
    ] = 60.0,
    orphan_timeout: Annotated[
        float,
        typer.Option(
            min=0, envvar="FASTGATE_ORPHAN_TIMEOUT", help="Seconds that workers serve on without their manager."
        ),
    ] = 60.0,
    memory_limit: Annotated[
        int,
        typer.Option(
            min=0, envvar="FASTGATE_MEMORY_LIMIT", metavar="MIB", help="Connection memory of a worker; 0: no limit."
        ),
    ] = 0,
    plugin_memory_limit: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="FASTGATE_PLUGIN_MEMORY_LIMIT",
            metavar="MIB",
            help="Memory that the filters of a plugin process may take; 0: no limit.",
        ),
    ] = 512,
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
    from fastgate.server import Server  # noqa: PLC0415

    hooks = Hooks()
    bound = _ports(port_map)
    if kubernetes:
        namespaces = tuple(filter(None, (name.strip() for name in watch_namespaces.split(","))))
        mode = Mode(controller=controller_name, guarded=True, zone=zone)
        config = cluster.reached(kubeconfig, context)
        front = _cluster(config, mode, pool=address_pool, namespaces=namespaces, instance=instance)
    else:
        from fastgate.standalone import Standalone  # noqa: PLC0415

        front = Standalone(paths or [], ports=bound, instance=instance, dev=dev, hooks=hooks)
    server = Server(
        front,
        workers=workers or settings.default_workers(),
        ports=bound,
        access_log=access_log,
        access_log_file=access_log_file,
        admin=settings.host_port(admin),
        strict=strict,
        keep_going=keep_going,
        drain_delay=drain_delay,
        drain_timeout=drain_timeout,
        orphan_timeout=int(orphan_timeout * 1000),
        memory_limit=memory_limit << 20,
        plugin_memory_limit=plugin_memory_limit << 20,
        hooks=hooks,
    )
    sys.exit(asyncio.run(server.run()))
