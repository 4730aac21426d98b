"""`fastgate dataplane`: serve what a controller says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgate import settings
from fastgate.cli import serving


def dataplane(
    *,
    controller: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_CONTROLLER",
            metavar="HOST:PORT",
            callback=serving.checked(settings.host_port),
            help="Where the controllers are.",
            show_default=False,
        ),
    ],
    identity: Annotated[
        Path,
        typer.Option(
            envvar="FASTGATE_IDENTITY",
            metavar="DIRECTORY",
            help="With tls.crt, tls.key and ca.crt, as the controller's Secret has them.",
        ),
    ] = Path("/etc/fastgate/identity"),
    state: Annotated[
        Path | None,
        typer.Option(
            envvar="FASTGATE_STATE",
            metavar="DIRECTORY",
            help="Keep what is served, secrets too, and begin with it; best in memory. [default: it is not kept]",
        ),
    ] = None,
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
    instance: Annotated[
        str,
        typer.Option(
            envvar="FASTGATE_INSTANCE",
            help="Name under which a restarted gateway finds its workers. [default: from --identity]",
        ),
    ] = "",
) -> None:
    """Serve one Gateway of a cluster as `fastgate controller` says, which starts this in Pods.

    What is served stays whatever becomes of the controller. Signals are those of `fastgate run`.

    Example: fastgate dataplane --controller fastgate.fastgate-system.svc:9443 --state /run/fastgate/state
    """
    try:
        from fastgate.dataplane import DataPlane  # noqa: PLC0415 - the libraries of the extra may not be there
    except ImportError as e:
        raise typer.BadParameter(f"dataplane needs {e.name}: pip install 'fastgate[kubernetes]'") from None
    from fastgate.plugins.manager import Hooks  # noqa: PLC0415 - only this command needs the engine

    serving.serve(
        DataPlane(controller, identity, state, instance=instance),
        Hooks(),
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
    )
