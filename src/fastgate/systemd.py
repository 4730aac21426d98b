"""What systemd is told (sd_notify(3)), when it wants to know: readiness, reloads, the main process, signs of life."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress


def notify(*lines: str) -> None:
    """Send `NAME=value` lines."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.connect("\0" + path[1:] if path.startswith("@") else path)
        s.send("\n".join(lines).encode())


def notify_reloading() -> None:
    """Announce a reload; READY=1 ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


async def keep_alive() -> None:
    """Feed the watchdog at twice the rate that it asks for, as long as this event loop turns."""
    interval = int(os.environ.get("WATCHDOG_USEC") or 0) / 1e6
    if interval and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        while True:
            notify("WATCHDOG=1")
            await asyncio.sleep(interval / 2)
    await asyncio.Event().wait()


def environment_of_successor() -> dict[str, str]:
    """Return our environment for a program that becomes the main process: the watchdog then watches that one."""
    return {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
