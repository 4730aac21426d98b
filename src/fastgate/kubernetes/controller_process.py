"""The process of a controller: signals, and the admin listener with health, metrics and what data planes there are."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

from fastgate import systemd
from fastgate.admin import metrics
from fastgate.admin.listener import AdminListener, as_json, text
from fastgate.translate.conditions import all_json

if TYPE_CHECKING:
    from fastgate.admin.listener import Answer
    from fastgate.kubernetes.controller import Controller

log = logging.getLogger("fastgate")


async def run(controller: Controller, listen: tuple[str, int], admin: tuple[str, int] | None) -> int:
    """Run a controller until a signal ends it. Returns the exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    listener = AdminListener(_pages(controller))
    if admin is not None:
        try:
            await listener.start(*admin)
        except OSError as e:
            print(f"fastgate: admin listener: {e.strerror}; --admin chooses another address, or off", file=sys.stderr)
            return 1
    work = asyncio.ensure_future(controller.run(*listen))
    ended = asyncio.ensure_future(ending.wait())
    systemd.notify("READY=1")
    try:
        await asyncio.wait([work, ended], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            log.info("stopping; data planes serve on")
            return 0
        work.result()
    except OSError as e:
        print(f"fastgate: {listen[0]}:{listen[1]}: {e.strerror}; --listen chooses another address", file=sys.stderr)
        return 1
    finally:
        for task in (work, ended):
            task.cancel()
        await asyncio.gather(work, ended, return_exceptions=True)
        await listener.stop()
    return 1


def _pages(controller: Controller) -> dict[str, Any]:
    return {
        "/healthz": lambda: text(200, "ok"),
        "/readyz": lambda: _ready(controller),
        "/metrics": lambda: (200, metrics.CONTENT_TYPE, _metrics(controller)),
        "/status": lambda: as_json(_status(controller)),
    }


def _ready(controller: Controller) -> Answer:
    why = controller.ready
    return text(503, why) if why else text(200, "ready")


def _metrics(controller: Controller) -> str:
    planes: dict[tuple[str, str], int] = {}
    for plane in controller.data_planes:
        planes[plane.gateway] = planes.get(plane.gateway, 0) + 1
    gateways = [({"gateway": "/".join(name)}, float(count)) for name, count in sorted(planes.items())]
    families: tuple[tuple[str, str, str, list[tuple[dict[str, str], float]]], ...] = (
        (
            "fastgate_controller_leads",
            "gauge",
            "Whether this replica writes.",
            [({}, float(controller.api.leader.writes()))],
        ),
        (
            "fastgate_controller_status_writes_total",
            "counter",
            "Statuses written.",
            [({}, float(controller.api.written))],
        ),
        (
            "fastgate_controller_stale_kinds",
            "gauge",
            "Kinds whose watch fails.",
            [({}, float(len(controller.api.cache.stale)))],
        ),
        ("fastgate_controller_data_planes", "gauge", "Data planes that are connected.", gateways),
    )
    lines = (
        line
        for name, kind, about, samples in families
        for line in metrics.family(name, kind, about, [("", labels, value) for labels, value in samples])
    )
    return "".join(f"{line}\n" for line in lines)


def _status(controller: Controller) -> dict[str, Any]:
    """What data planes there are, what is wrong with what they run on, and the statuses of all objects."""
    return {
        "leads": controller.api.leader.writes(),
        "stale": controller.api.cache.stale,
        "dataPlanes": [
            {
                "gateway": "/".join(plane.gateway),
                "name": plane.hello.name,
                "version": plane.hello.version,
                "revision": plane.has.revision,
                "filters": plane.hello.filters,
                "error": plane.report.error if plane.report is not None else None,
            }
            for plane in controller.data_planes
        ],
        "objects": all_json(controller.statuses),
    }
