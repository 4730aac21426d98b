"""Buckets that processes share, also with those that die or stop."""

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from fastgate_ratelimit import local
from fastgate_ratelimit.bucket import SECOND, Rate
from fastgate_ratelimit.config import LocalStore
from fastgate_ratelimit.local import _HEADER, _SET, Local, _own_folder
from fastgate_ratelimit.store import StoreError

SLOW = Rate(interval=3600 * SECOND, burst=1000)  # nothing comes back during a test

# Takes tokens and prints for how many keys there was one; with 0 keys it holds the lock of the first set until it is killed.
OTHER = """
import asyncio, sys
from fastgate_ratelimit.bucket import Rate
from fastgate_ratelimit.config import LocalStore
from fastgate_ratelimit import local
from fastgate_ratelimit.local import _HEADER, Local
local._PATIENCE = 60
directory, interval, burst, times = sys.argv[1], *map(int, sys.argv[2:])
async def main():
    store = Local(LocalStore(directory=directory, size=8), Rate(interval, burst))
    await store.start()
    print("started", flush=True)
    sys.stdin.readline()
    if not times:
        with store._locked(_HEADER):
            print("holding", flush=True)
            sys.stdin.readline()
    print(sum([(await store.take("f", b"key")).allowed for _ in range(times)]), flush=True)
    await store.stop()
asyncio.run(main())
"""


def other(directory, rate, times):
    """Start a process that takes so many tokens when it is told to."""
    command = [sys.executable, "-c", OTHER, str(directory), str(rate.interval), str(rate.burst), str(times)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def told(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def ended(process):
    with process:
        process.kill()


@asynccontextmanager
async def opened(directory, rate=SLOW, **config):
    store = Local(LocalStore(directory=str(directory), **{"size": 8, **config}), rate)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


async def taken(store, times, key=b"key", owner="f"):
    return sum([(await store.take(owner, key)).allowed for _ in range(times)])


@pytest.fixture
def patient(monkeypatch):
    """Wait for locks however long a busy machine takes."""
    monkeypatch.setattr(local, "_PATIENCE", 60)


async def test_processes_share_a_bucket_exactly(tmp_path, patient):
    processes = [other(tmp_path, SLOW, 800) for _ in range(2)]
    async with opened(tmp_path) as store:
        for process in processes:
            told(process)
        mine = await taken(store, 100)
        theirs = [int(process.communicate()[0]) for process in processes]
        assert mine + sum(theirs) == SLOW.burst
        assert [process.returncode for process in processes] == [0, 0]


async def test_a_process_that_dies_changes_nothing(tmp_path, patient):
    async with opened(tmp_path) as store:
        assert await taken(store, 10) == 10
        process = other(tmp_path, SLOW, 10**9)
        told(process)
        while (await store.take("f", b"key")).remaining > 500:
            pass  # until it is in the middle of it
        ended(process)
        before = (await store.take("f", b"key")).remaining
        assert before < 500
        assert await taken(store, 1000) == before


async def test_a_process_that_stops_does_not_stop_others(tmp_path):
    async with opened(tmp_path) as store:
        process = other(tmp_path, SLOW, 0)
        told(process)
        assert process.stdout.readline() == "holding\n"
        os.kill(process.pid, signal.SIGSTOP)
        for _ in range(1000):  # after the first none waits
            with pytest.raises(StoreError, match="is held by a process that does not go on"):
                await store.take("f", b"key")
        ended(process)  # and the kernel lets go of its lock
        assert await taken(store, 1) == 1


async def test_buckets_outlive_the_one_who_made_them(tmp_path):
    async with opened(tmp_path) as first:
        assert await taken(first, 900) == 900
        async with opened(tmp_path) as second:
            await first.stop()
            assert await taken(second, 900) == 100
            await first.start()
    assert list(tmp_path.iterdir()) == []  # whoever stops last removes it
    async with opened(tmp_path) as store:
        assert await taken(store, 1) == 1


async def test_a_file_that_goes_while_it_is_opened(tmp_path, monkeypatch):
    """Between opening the file and locking it, whoever had it removes it."""
    first = Local(LocalStore(directory=str(tmp_path), size=8), SLOW)
    await first.start()
    flock, times = local.fcntl.flock, []

    def late(fd, operation):
        if not times:
            times.append(fd)
            first.path.unlink()
        flock(fd, operation)

    monkeypatch.setattr(local.fcntl, "flock", late)
    async with opened(tmp_path) as second, opened(tmp_path) as third:
        assert await taken(second, 900) == 900
        assert await taken(third, 900) == 100
    await first.stop()


async def test_limits_names_and_filters_have_their_own(tmp_path):
    two = Rate(interval=3600 * SECOND, burst=2)
    async with opened(tmp_path, two) as a, opened(tmp_path, two, name="b") as b, opened(tmp_path) as c:
        assert [await taken(a, 5), await taken(a, 5, owner="g"), await taken(b, 5), await taken(c, 5)] == [2, 2, 2, 5]


async def test_the_fullest_bucket_is_forgotten(tmp_path):
    async with opened(tmp_path, size=8) as store:
        assert await taken(store, 1000, b"busy") == 1000
        for number in range(7):
            assert await taken(store, number + 1, b"%d" % number) == number + 1
        assert await taken(store, 1, b"one more") == 1  # takes the place of "0"
        assert await taken(store, 1, b"busy") == 0
        assert (await store.take("f", b"1")).remaining == 1000 - 3
        assert store.path.stat().st_size == _HEADER + _SET.size


async def test_garbage_does_no_harm(tmp_path):
    async with opened(tmp_path) as store:
        await taken(store, 1)
        with store.path.open("r+b") as file:
            file.seek(_HEADER)
            file.write(os.urandom(_SET.size))
        for number in range(20):
            assert 0 <= (await store.take("f", b"%d" % number)).remaining <= SLOW.burst


async def test_files_of_others_are_not_used(tmp_path):
    store = Local(LocalStore(directory=str(tmp_path), size=8), SLOW)
    (tmp_path / store._name).symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        await store.start()


async def test_a_disk_that_is_full(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        await Local(LocalStore(directory=str(tmp_path)), SLOW).start()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_ones_own(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = _own_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(StoreError, match="is no folder that only this user can use"):
        _own_folder()
