"""One worker as its manager sees it: the process or thread, its control channel, its statistics, its answers."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fastgate.control import VERSION, Channel, Gone, Message, Type
from fastgate.core import engine

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER_TIMEOUT = 5.0  # seconds; a worker that is silent for longer is killed


class WorkerError(Exception):
    """A worker refused what it was told; the message is its own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every worker is started with. Times are milliseconds, sizes bytes."""

    workers: int
    orphan_timeout: int = 60_000
    memory_limit: int = 0


class Runner(Protocol):
    """What runs an engine."""

    def kill(self) -> None:
        """End it at once, if that is possible."""

    async def ended(self) -> str:
        """Wait for its end and say how it was."""


class Process:
    """An engine in a process of its own, with nothing of ours open but what it needs."""

    def __init__(self, arguments: list[str], fds: tuple[int, ...]) -> None:
        """Start the interpreter isolated from the current directory."""
        command = [sys.executable, "-P", "-m", "fastgate.worker", *arguments]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("NOTIFY_")}
        here = str(Path(__file__).resolve().parents[1])  # the worker is of this very version, installed or not
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
        self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL, env=environment)

    def kill(self) -> None:
        """Kill it; its manager hears of it as of any other death."""
        self._process.kill()

    async def ended(self) -> str:
        """Wait for its end."""
        code = await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"


class Thread:
    """An engine in a thread of this process: it never holds the GIL, and it cannot be killed."""

    def __init__(self, run: Callable[[], int], name: str) -> None:
        """Start it."""
        self._thread = threading.Thread(target=run, name=name, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Do nothing: a thread ends when it is told to by STOP."""

    async def ended(self) -> str:
        """Wait for its end."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        return "ended"


class Worker:
    """A running worker. Every method belongs to the event loop it was started on."""

    def __init__(
        self, number: int, options: Options, log_fd: int, gone: Callable[[Worker], None], *, thread: bool
    ) -> None:
        """Start it; `gone` is called once, when its control channel ends."""
        self.number = number
        self.hello = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.alive = True
        self.listening: set[tuple[str, int]] = set()  # (socket key, slot) that it was given; its manager's note
        self._gone = gone
        self._waiting: dict[tuple[Type, int, int], asyncio.Future[None]] = {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        slab = os.memfd_create("fastgate-statistics", os.MFD_CLOEXEC)
        os.ftruncate(slab, engine.stats_size())
        self.slab = mmap.mmap(slab, engine.stats_size(), prot=mmap.PROT_READ)
        self._channel = Channel(ours, self._received)
        self.runner: Runner
        if thread:
            log = os.dup(log_fd) if log_fd >= 0 else -1
            control = theirs.detach()

            def run() -> int:
                return engine.run(
                    control, slab, log, worker=number, workers=options.workers,
                    orphan_timeout=options.orphan_timeout, memory_limit=options.memory_limit,
                )  # fmt: skip

            self.runner = Thread(run, f"fastgate-worker-{number}")
            return
        fds = (theirs.fileno(), slab, log_fd) if log_fd >= 0 else (theirs.fileno(), slab)
        values = (theirs.fileno(), slab, log_fd, number, options.workers, options.orphan_timeout, options.memory_limit)
        self.runner = Process([str(v) for v in values], fds)
        theirs.close()
        os.close(slab)

    def send(self, message: Message, fd: int | None = None) -> None:
        """Send what has no answer."""
        self._channel.send(message, fd)

    async def ask(self, message: Message, answer: Type, fd: int | None = None) -> None:
        """Send a message and wait for its answer.

        Raises:
            WorkerError: the worker answered FAILED.
            Gone: the worker ended, or was silent for ANSWER_TIMEOUT and was killed.
        """
        if not self.alive:
            raise Gone
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[answer, message.key, message.slot] = waiting
        self.send(message, fd)
        try:
            await asyncio.wait_for(waiting, ANSWER_TIMEOUT)
        except TimeoutError:
            self.runner.kill()
            raise Gone from None
        finally:
            self._waiting.pop((answer, message.key, message.slot), None)

    def close(self) -> None:
        """Forget the channel; the worker then serves on as an orphan until its orphan timeout."""
        self._channel.close()

    def _received(self, message: Message | None) -> None:
        if message is None:
            self.alive = False
            if not self.hello.done():
                self.hello.set_exception(Gone())
                self.hello.exception()  # it is no fault that nobody waits for it
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(Gone())
            self._gone(self)
        elif message.type is Type.HELLO:
            if message.b != VERSION:
                self.hello.set_exception(WorkerError(f"the worker speaks control version {message.b}, not {VERSION}"))
            else:
                self.hello.set_result(message.a)
        elif message.type is Type.DRAINED:
            self.drained.set()
        elif message.type is Type.FAILED:
            for answer in (Type.LISTENING, Type.PREPARED, Type.COMMITTED, Type.ENDPOINTS_SET):
                self._answer((answer, message.key, message.slot), WorkerError(message.text))
        else:
            self._answer((message.type, message.key, message.slot), None)

    def _answer(self, key: tuple[Type, int, int], error: Exception | None) -> None:
        waiting = self._waiting.get(key)
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(None)
