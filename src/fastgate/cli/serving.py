"""What the commands have in common that serve: their options, and the server."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgate import settings
from fastgate.ir import AccessLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.plugins.manager import Hooks
    from fastgate.server import Front


def checked(read: Callable[[str], Any]) -> Callable[[str], str]:
    """Return a callback of an option: its text, if it can be read."""

    def check(text: str) -> str:
        try:
            read(text)
        except ValueError as e:
            raise typer.BadParameter(str(e)) from None
        return text

    return check


Workers = Annotated[
    int | None,
    typer.Option(min=1, max=1024, envvar="FASTGATE_WORKERS", help="Worker processes. [default: CPUs that may be used]"),
]
PortMap = Annotated[
    str,
    typer.Option(
        envvar="FASTGATE_PORT_MAP",
        metavar="80=8080,...",
        callback=checked(settings.port_map),
        help="Bind other ports than the listeners name.",
    ),
]
AccessLogForm = Annotated[
    AccessLog | None,
    typer.Option(envvar="FASTGATE_ACCESS_LOG", help="Form of access logs, whatever Gateways ask for."),
]
AccessLogFile = Annotated[
    Path | None,
    typer.Option(
        envvar="FASTGATE_ACCESS_LOG_FILE", help="Append access logs here; SIGUSR1 opens it again. [default: stdout]"
    ),
]
Admin = Annotated[
    str,
    typer.Option(
        envvar="FASTGATE_ADMIN",
        metavar="HOST:PORT|off",
        callback=checked(settings.host_port),
        help="Health, metrics, status.",
    ),
]
DrainDelay = Annotated[
    float, typer.Option(min=0, envvar="FASTGATE_DRAIN_DELAY", help="Seconds to accept on after SIGTERM, unready.")
]
DrainTimeout = Annotated[
    float,
    typer.Option(min=0, envvar="FASTGATE_DRAIN_TIMEOUT", help="Seconds for open requests and tunnels to finish."),
]
OrphanTimeout = Annotated[
    float,
    typer.Option(min=0, envvar="FASTGATE_ORPHAN_TIMEOUT", help="Seconds that workers serve on without their manager."),
]
MemoryLimit = Annotated[
    int,
    typer.Option(
        min=0, envvar="FASTGATE_MEMORY_LIMIT", metavar="MIB", help="Connection memory of a worker; 0: no limit."
    ),
]
PluginMemoryLimit = Annotated[
    int,
    typer.Option(
        min=0,
        envvar="FASTGATE_PLUGIN_MEMORY_LIMIT",
        metavar="MIB",
        help="Memory that the filters of a plugin process may take; 0: no limit.",
    ),
]

ADMIN = "127.0.0.1:9901"  # the defaults of options
DRAIN_TIMEOUT = ORPHAN_TIMEOUT = 60.0
PLUGIN_MEMORY_LIMIT = 512


def serve(
    front: Front,
    hooks: Hooks,
    *,
    workers: int | None,
    port_map: str,
    access_log: AccessLog | None,
    access_log_file: Path | None,
    admin: str,
    drain_delay: float,
    drain_timeout: float,
    orphan_timeout: float,
    memory_limit: int,
    plugin_memory_limit: int,
    strict: bool = False,
    keep_going: bool = False,
) -> None:
    """Serve what a front end says, and exit."""
    from fastgate.server import Server  # noqa: PLC0415 - only these commands need the engine

    server = Server(
        front,
        workers=workers or settings.default_workers(),
        ports=settings.port_map(port_map),
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
