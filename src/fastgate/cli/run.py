"""`fastgate run`: serve files."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from fastgate import settings
from fastgate.ir import AccessLog  # noqa: TC001 - typer reads the annotations


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


def run(
    paths: Annotated[
        list[Path], typer.Argument(help="Files and directories of YAML or JSON; reloaded when they change.")
    ],
    *,
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
    """Serve Gateway API resources from files, and reload them when they change.

    Signals: TERM and INT drain (twice: end at once), HUP reloads, USR1 opens the access log file again,
    USR2 hands over to the program that is installed now.

    Example: fastgate run gateway.yaml routes/ --port-map 80=8080
    """
    from fastgate.plugins.manager import Hooks  # noqa: PLC0415 - only this command needs the engine
    from fastgate.server import Server  # noqa: PLC0415
    from fastgate.standalone import Standalone  # noqa: PLC0415

    hooks = Hooks()
    bound = _ports(port_map)
    server = Server(
        Standalone(paths, ports=bound, instance=instance, dev=dev, hooks=hooks),
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
