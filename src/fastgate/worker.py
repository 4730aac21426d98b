"""A worker process: takes its descriptors from the command line and runs the engine on its main thread.

It imports the compiled modules and nothing else of fastgate: no models, no YAML.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from fastgate.core import engine

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_NAME = 15
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


def drop_capabilities(libc: ctypes.CDLL) -> None:
    """Give up every capability (capset(2)): the manager binds, and a worker needs none."""
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    if libc.capset(header, data) < 0:
        sys.exit(f"fastgate-worker: capabilities cannot be dropped: errno {ctypes.get_errno()}")


def main(arguments: list[str]) -> int:
    """Run one worker: four descriptors (control, statistics, log, adoption), number, count, ms as an orphan, bytes."""
    *numbers, build = arguments
    control, stats, log, adopt, number, count, orphan_timeout, memory = map(int, numbers)
    for fd in filter(lambda fd: fd >= 0, (control, stats, log, adopt)):
        os.set_inheritable(fd, False)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, b"fastgate-worker", 0, 0, 0)
    drop_capabilities(libc)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number_ in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number_, signal.SIG_IGN)  # the manager acts on them; terminals and systemd send them to all
    return engine.run(
        control, stats, log, adopt_fd=adopt, worker=number, workers=count,
        orphan_timeout=orphan_timeout, memory_limit=memory, build=build.encode(),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
