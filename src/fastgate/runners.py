"""What runs an engine: a process of ours, one that another manager left behind, or a thread."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Runner(Protocol):
    """What runs an engine."""

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once, if that is possible, by this signal."""

    async def ended(self) -> str:
        """Wait for its end and say how it was."""


class Process:
    """An engine, or the filters beside it, in a process of its own, with nothing of ours open but what it needs."""

    def __init__(self, module: str, arguments: list[str], fds: tuple[int, ...]) -> None:
        """Start an interpreter with a module of ours, isolated from the current directory."""
        command = [sys.executable, "-P", "-m", module, *arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NOTIFY_")}
        here = str(Path(__file__).resolve().parents[1])  # the worker is of this very version, installed or not
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
        self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, env=environment)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it; its manager hears of it as of any other death."""
        self._process.send_signal(number)

    async def ended(self) -> str:
        """Wait for its end."""
        code = await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


class Adopted:
    """A process that another manager started. Its descriptor (pidfd_open(2)) never means a later one of its number."""

    def __init__(self, pid: int) -> None:
        """Take the peer of a connection that is open. OSError when it is gone."""
        self._fd = os.pidfd_open(pid)

    def __del__(self) -> None:
        """Close the descriptor."""
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, number)

    async def ended(self) -> str:
        """Wait for its end; how it was is told to its parent only."""
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        fd = os.dup(self._fd)
        loop.add_reader(fd, lambda: None if ended.done() else ended.set_result(None))
        try:
            await ended
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return "ended"


class Thread:
    """An engine in a thread of this process: it never holds the GIL, and it cannot be killed."""

    def __init__(self, run: Callable[[], int], name: str) -> None:
        """Start it."""
        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self._thread.start()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Do nothing: a thread ends when it is told to by STOP."""

    async def ended(self) -> str:
        """Wait for its end."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        return "ended"
