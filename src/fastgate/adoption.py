"""Finding the workers that another manager left behind, and taking over what they hold (csrc/fg_orphan.c)."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import signal
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from fastgate.control import VERSION, Channel, Type
from fastgate.runners import Adopted
from fastgate.workers import ANSWER_TIMEOUT, Worker, build, map_slab

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastgate.control import Message
    from fastgate.instance import Instance

log = logging.getLogger(__name__)

T = TypeVar("T")

_PEER = struct.Struct("=iII")  # struct ucred


@dataclass(slots=True)
class Held:
    """A listening socket of a worker, with the lock of its address."""

    name: str
    slot: int
    listening: socket.socket
    lock: socket.socket | None


@dataclass(slots=True)
class Orphan:
    """A worker that has been adopted.

    Attributes:
        generation: that it serves.
        version: of its endpoints.
        stays: whether it runs our code and accepts connections; otherwise it has to be replaced.
        kept: the document that its former manager left.
    """

    worker: Worker
    generation: int = 0
    version: int = 0
    stays: bool = True
    kept: bytes = b""
    held: list[Held] = field(default_factory=list)


async def adopt(
    instance: Instance, gone: Callable[[Worker], None], health: Callable[[Worker, Message], None]
) -> list[Orphan]:
    """Adopt every worker of an instance that has no manager; `gone` and `health` are those of `Worker`."""
    found = await asyncio.gather(*(_greet(instance, name, gone, health) for name in instance.sockets()))
    return sorted((o for o in found if o is not None), key=lambda o: o.worker.number)


async def _greet(
    instance: Instance, name: str, gone: Callable[[Worker], None], health: Callable[[Worker, Message], None]
) -> Orphan | None:
    try:
        end = instance.connect(name)
    except BlockingIOError:
        log.warning("%s: somebody else is talking to this worker", name)
        return None
    except OSError:
        instance.remove(name)  # its worker is dead
        return None
    pid, uid, _ = _PEER.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    if uid != os.geteuid():
        log.warning("%s belongs to another user", name)
        end.close()
        return None
    inbox: asyncio.Queue[tuple[Message | None, list[int]]] = asyncio.Queue()
    channel = Channel(end, lambda message, fds: inbox.put_nowait((message, fds)))
    try:
        runner = Adopted(pid)
        async with asyncio.timeout(ANSWER_TIMEOUT):
            orphan = await _introduced(inbox, channel, runner, gone, health)
    except TimeoutError:
        log.error("worker process %d has not answered for %g s and is killed", pid, ANSWER_TIMEOUT)  # noqa: TRY400
        runner.kill(signal.SIGABRT)
        orphan = None
    except OSError:
        orphan = None
    if orphan is None:
        channel.close()
        return None
    orphan.worker.pid = pid
    orphan.worker.address = name
    return orphan


async def _introduced(
    inbox: asyncio.Queue[tuple[Message | None, list[int]]],
    channel: Channel,
    runner: Adopted,
    gone: Callable[[Worker], None],
    health: Callable[[Worker, Message], None],
) -> Orphan | None:
    """Read all that a worker says of itself; None when it ends meanwhile."""
    message, fds = await inbox.get()
    if message is None or message.type is not Type.HELLO or not fds:
        return None
    understands = message.b == VERSION
    stays = understands and message.text == build().decode()
    number, slab = message.slot, _taken(fds[0], map_slab)
    held: list[Held] = []
    kept = b""
    while True:
        message, fds = await inbox.get()
        if message is None:
            return None
        if message.type is Type.HOLDS:
            held.append(Held(message.text, message.slot, *_sockets(fds)))
        elif message.type is Type.KEPT:
            kept = _taken(fds[0], _content)
        elif message.type is Type.ADOPTED:
            break
    worker = Worker(number, runner, channel, slab, gone=gone, health=health)
    worker.ready.set_result(None)
    if understands:  # else it leaves its sockets when it drains, and not when it is told
        worker.listening = {(h.name, h.slot) for h in held}
    return Orphan(worker, message.key, message.a, stays and not message.b, kept, held)


def _sockets(fds: list[int]) -> tuple[socket.socket, socket.socket | None]:
    found = [socket.socket(fileno=fd) for fd in fds]
    return found[0], found[1] if len(found) > 1 else None


def _taken(fd: int, read: Callable[[int], T]) -> T:
    try:
        return read(fd)
    finally:
        os.close(fd)


def _content(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return mmap.mmap(fd, size, prot=mmap.PROT_READ)[:]
