"""SIGUSR2: the running manager starts its successor, hands everything over, and ends when that one serves.

    predecessor                                   successor (argv as ours, of whatever version is installed by now)
      starts it, with a socket and the lock  -->
                                             <--  READY    its configuration is valid
      leaves its workers; the admin socket   -->  YOURS
                                                  adopts the workers, starts its own beside them, serves
                                             <--  SERVING
      ends                                        lets the adopted workers drain

A successor that ends or is silent before SERVING has not come up: its predecessor takes the workers back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import Self

from fastgate import systemd

VARIABLE = "FASTGATE_PREDECESSOR"  # descriptors of the socket and of the instance's lock
START_TIMEOUT, SERVE_TIMEOUT = 120.0, 60.0  # seconds until READY and until SERVING
READY, YOURS, SERVING = b"ready", b"yours", b"serving"


class HandOverError(Exception):
    """The successor did not come up; the message says why."""


class Successor:
    """The new program, as the running manager sees it."""

    def __init__(self, process: subprocess.Popen[bytes], end: socket.socket) -> None:
        """Use `start`."""
        self.pid = process.pid
        self._process = process
        self._end = end

    @classmethod
    def start(cls, lock: int) -> Self:
        """Start the program that is installed now with our arguments. OSError when that is not possible."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [sys.executable, "-P", "-m", "fastgate", *sys.argv[1:]]
        environment = {**systemd.environment_of_successor(), VARIABLE: f"{theirs.fileno()},{lock}"}
        with theirs:
            return cls(subprocess.Popen(command, pass_fds=(theirs.fileno(), lock), env=environment), ours)

    async def ready(self) -> None:
        """Wait until its configuration is valid."""
        await self._expect(READY, START_TIMEOUT)

    async def take_over(self, admin: socket.socket | None) -> None:
        """Give it everything and wait until it serves."""
        socket.send_fds(self._end, [YOURS], [admin.fileno()] if admin is not None else [])
        await self._expect(SERVING, SERVE_TIMEOUT)

    async def give_up(self) -> None:
        """End it, if it has not ended."""
        self._end.close()
        self._process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)

    async def _expect(self, word: bytes, seconds: float) -> None:
        try:
            found = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._end, 64), seconds)
        except TimeoutError:
            raise HandOverError(f"it was not {word.decode()} within {seconds:g} s") from None
        except OSError:
            found = b""
        if found != word:
            raise HandOverError(f"it ended before it was {word.decode()}")


class Predecessor:
    """The running manager, as the new program sees it."""

    def __init__(self, end: socket.socket, lock: int) -> None:
        """Use `find`."""
        self.lock = lock
        self._end = end

    @classmethod
    def find(cls) -> Self | None:
        """Return who started this process to be its successor; None when nobody did."""
        given = os.environ.pop(VARIABLE, "")
        if not given:
            return None
        end, lock = map(int, given.split(","))
        os.set_inheritable(end, False)
        return cls(socket.socket(fileno=end), lock)

    def take_over(self) -> socket.socket | None:
        """Say that our configuration is valid; return the admin listener, if there is one, when all is ours."""
        self._end.send(READY)
        self._end.settimeout(SERVE_TIMEOUT)
        data, fds, _, _ = socket.recv_fds(self._end, 64, 1, socket.MSG_CMSG_CLOEXEC)
        if data != YOURS:
            raise HandOverError("the running manager ended")
        return socket.socket(fileno=fds[0]) if fds else None

    def serving(self) -> None:
        """Let it end."""
        self._end.send(SERVING)
        self._end.close()
