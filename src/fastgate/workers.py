"""One worker as its manager sees it: what runs it, its control channel, its statistics, its answers."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastgate.control import VERSION, Channel, Gone, Message, Type
from fastgate.core import engine
from fastgate.runners import Process, Thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.instance import Instance
    from fastgate.runners import Runner

ANSWER_TIMEOUT = 5.0  # seconds; a worker that is silent for longer is killed


class WorkerError(Exception):
    """A worker refused what it was told; the message is its own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every worker is started with. Times are milliseconds, sizes bytes."""

    workers: int
    orphan_timeout: int = 60_000
    memory_limit: int = 0


class Worker:
    """A running worker. Every method belongs to the event loop it was made on.

    Attributes:
        number: which of the workers it is; who is replaced by a newer build shares it with that one for a while.
        pid: its process, that of the manager for a thread; 0 before it has reported.
        slab: its statistics.
        address: the name of its socket in the instance, "" when it cannot be adopted.
        ready: done when it has reported, with an exception when it ended before.
        alone: set unless exchanges of a generation go on that another one has replaced.
        drained: set when all its connections are closed after DRAIN.
        listening: (socket key, slot) that it accepts from.
    """

    def __init__(
        self,
        number: int,
        runner: Runner,
        channel: Channel,
        slab: mmap.mmap,
        *,
        gone: Callable[[Worker], None],
        health: Callable[[Worker, Message], None],
    ) -> None:
        """Take over what talks to it; `gone` is called once, when the channel ends, `health` with HEALTH_CHANGED."""
        self.number = number
        self.runner = runner
        self.slab = slab
        self.pid = 0
        self.address = ""
        self.alive = True
        self.ready = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.alone = asyncio.Event()
        self.alone.set()
        self.listening: set[tuple[str, int]] = set()
        self._generations: set[int] = set()  # that were committed and have not ended
        self._gone = gone
        self._health = health
        self._waiting: dict[tuple[Type, int, int], asyncio.Future[None]] = {}
        self._channel = channel
        channel.received = self._received

    def send(self, message: Message, *fds: int) -> None:
        """Send what has no answer."""
        self._channel.send(message, *fds)

    async def ask(self, message: Message, answer: Type, *fds: int, timeout: float = ANSWER_TIMEOUT) -> None:  # noqa: ASYNC109 - the worker is killed then
        """Send a message and wait for its answer.

        Raises:
            WorkerError: the worker answered FAILED.
            Gone: the worker ended, or was silent for `timeout` seconds and was killed.
        """
        if not self.alive:
            raise Gone
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[answer, message.key, message.slot] = waiting
        self.send(message, *fds)
        try:
            await asyncio.wait_for(waiting, timeout)
        except TimeoutError:
            self.runner.kill()
            raise Gone from None
        finally:
            self._waiting.pop((answer, message.key, message.slot), None)

    def close(self) -> None:
        """Forget the channel; the worker then serves on as an orphan until its orphan timeout."""
        self.alive = False
        self._channel.close()

    def _received(self, message: Message | None, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)  # only orphans send any
        if message is None:
            self._lost()
        elif message.type is Type.HELLO:
            self._reported(message)
        elif message.type is Type.HEALTH_CHANGED:
            self._health(self, message)
        elif message.type is Type.DRAINED:
            self.drained.set()
        elif message.type is Type.FAILED:
            for answer in (Type.LISTENING, Type.PREPARED, Type.COMMITTED, Type.ENDPOINTS_SET):
                self._answer((answer, message.key, message.slot), WorkerError(message.text))
        else:
            self._count_generations(message)
            self._answer((message.type, message.key, message.slot), None)

    def _count_generations(self, message: Message) -> None:
        if message.type is Type.COMMITTED:
            self._generations.add(message.key)
        elif message.type is Type.ENDED:
            self._generations.discard(message.key)
        if len(self._generations) > 1:
            self.alone.clear()
        else:
            self.alone.set()

    def _reported(self, hello: Message) -> None:
        self.pid = hello.a
        if hello.b != VERSION:
            self.ready.set_exception(WorkerError(f"the worker speaks control version {hello.b}, not {VERSION}"))
        else:
            self.ready.set_result(None)

    def _lost(self) -> None:
        self.alive = False
        if not self.ready.done():
            self.ready.set_exception(Gone())
            self.ready.exception()  # it is no fault that nobody waits for it
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Gone())
        self._gone(self)

    def _answer(self, key: tuple[Type, int, int], error: Exception | None) -> None:
        waiting = self._waiting.get(key)
        if waiting is None or waiting.done():
            return
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(None)


def launch(
    number: int,
    options: Options,
    gone: Callable[[Worker], None],
    health: Callable[[Worker, Message], None],
    *,
    log_fd: int = -1,
    instance: Instance | None = None,
    thread: bool = False,
) -> Worker:
    """Start a worker.

    Args:
        number: 0 .. options.workers - 1.
        options: see there.
        gone: called once, when its control channel ends.
        health: called with every HEALTH_CHANGED.
        log_fd: where its access log goes; stays the caller's.
        instance: where a later manager finds it; None when none shall.
        thread: run it as a thread of this process.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    slab_fd = os.memfd_create("fastgate-statistics", os.MFD_CLOEXEC)
    os.ftruncate(slab_fd, engine.stats_size())
    slab = map_slab(slab_fd)
    channel = Channel(ours, lambda *_: None)
    if thread:
        log, control = (os.dup(log_fd) if log_fd >= 0 else -1), theirs.detach()

        def run() -> int:
            return engine.run(
                control, slab_fd, log, worker=number, workers=options.workers,
                orphan_timeout=options.orphan_timeout, memory_limit=options.memory_limit, build=build(),
            )  # fmt: skip

        return Worker(number, Thread(run, f"fastgate-worker-{number}"), channel, slab, gone=gone, health=health)
    address, adopt = instance.new_socket(number) if instance is not None else ("", None)
    adopt_fd = adopt.fileno() if adopt is not None else -1
    fds = (theirs.fileno(), slab_fd, log_fd, adopt_fd)
    values = (*fds, number, options.workers, options.orphan_timeout, options.memory_limit, build().decode())
    runner = Process("fastgate.worker", [str(v) for v in values], tuple(fd for fd in fds if fd >= 0))
    for end in filter(None, (theirs, adopt)):
        end.close()
    os.close(slab_fd)
    worker = Worker(number, runner, channel, slab, gone=gone, health=health)
    worker.address = address
    return worker


def map_slab(fd: int) -> mmap.mmap:
    """Map the statistics of a worker, of whatever version."""
    return mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)


@cache
def build() -> bytes:
    """Name the code that workers of this program run: a digest of the compiled modules and of what starts them."""
    here = Path(__file__).parent
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted([*(here / "core").glob("*.so"), here / "worker.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest().encode()
