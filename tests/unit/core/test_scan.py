"""Scanning kernels of csrc/fg_scan.h against sets of bytes, each input right before a page that cannot be read."""

import ctypes
import mmap
import platform
import random
import string
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[3] / "csrc"
SHIM = """
#include "fg_scan.h"

size_t value(const uint8_t *p, size_t n) { return (size_t)(fg_scan_value(p, p + n) - p); }
size_t target(const uint8_t *p, size_t n) { return (size_t)(fg_scan_target(p, p + n) - p); }
size_t path(const uint8_t *p, size_t n) { return (size_t)(fg_scan_path(p, p + n) - p); }
size_t json(const uint8_t *p, size_t n) { return (size_t)(fg_scan_json(p, p + n) - p); }
size_t host(const uint8_t *p, size_t n) { return (size_t)(fg_scan_host(p, p + n) - p); }
size_t near_name(const uint8_t *p, size_t n) { return fg_near_name(p); }
size_t same_lower(const uint8_t *p, const uint8_t *lower, size_t n) { return fg_same_lower(p, lower, (unsigned)n); }
size_t is_word(const uint8_t *p, size_t n, const char *word, size_t size) { return fg_is_word(p, n, word, size); }

const char *kernel(size_t i, const uint8_t *p, size_t n, uint64_t *words) { /* its name, NULL behind the last one */
    size_t count;
    const struct fg_map_kernel *all = fg_map_kernels(&count);
    if (i >= count)
        return NULL;
    if (all[i].map == NULL)
        return "";
    all[i].map(p, n, words);
    return all[i].name;
}

size_t walk(const uint8_t *p, size_t n, uint32_t *found) { /* every position by fg_map_next */
    struct fg_value_map map;
    const uint8_t *end = p + n, *at = p;
    size_t count = 0;
    fg_map_start(&map, p);
    while (at < end && (at = fg_map_next(&map, at, end)) < end)
        found[count++] = (uint32_t)(at++ - p);
    return count;
}
"""

VISIBLE = set(range(0x21, 0x7F))
CLASSES = {
    "value": {0x09, *range(0x20, 0x7F), *range(0x80, 0x100)},
    "target": VISIBLE - set(b"#"),
    "path": VISIBLE - set(b"#%.?\\"),
    "json": set(range(0x20, 0x7F)) - set(b'"\\'),
    "host": set((string.ascii_letters + string.digits + "-._").encode()),
}
NAME = set((string.ascii_letters + string.digits + "-").encode())


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    directory = tmp_path_factory.mktemp("scan")
    (directory / "shim.c").write_text(SHIM)
    library = directory / "shim.so"
    files = [str(directory / "shim.c"), str(CSRC / "fg_scan.c")]
    subprocess.run(
        ["cc", "-O2", "-D_GNU_SOURCE", "-fPIC", "-shared", f"-I{CSRC}", *files, "-o", str(library)], check=True
    )
    loaded = ctypes.CDLL(str(library))
    for name in ("value", "target", "path", "json", "host", "near_name", "walk", "same_lower", "is_word"):
        getattr(loaded, name).restype = ctypes.c_size_t
    loaded.kernel.restype = ctypes.c_char_p
    return loaded


class Guarded:
    """Bytes whose last one is followed by a page that cannot be read, and whose page is their own."""

    def __init__(self):
        self.size = 2 * mmap.PAGESIZE
        self.room = mmap.mmap(-1, self.size + mmap.PAGESIZE)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self.room))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        assert libc.mprotect(self.base + self.size, mmap.PAGESIZE, 0) == 0

    def put(self, data: bytes) -> ctypes.c_void_p:
        ctypes.memmove(self.base + self.size - len(data), data, len(data))
        return ctypes.c_void_p(self.base + self.size - len(data))


@pytest.fixture(scope="module")
def guarded():
    return Guarded()


def texts():
    """Random bytes of every length that a kernel treats in its own way, dense and sparse in those it looks for."""
    draw = random.Random(1)
    for n in range(300):
        yield bytes(draw.randrange(256) for _ in range(n))
        yield bytes(
            draw.choice(b"a\xff ~\t") if draw.random() < 0.97 else draw.choice(b"\r\n\0\x1f\x7f") for _ in range(n)
        )


def test_every_kernel_maps_the_bytes_outside_of_values(kernels, guarded):
    words = (ctypes.c_uint64 * 8)()
    ran = set()
    for data in texts():
        expected = sum(1 << i for i, c in enumerate(data) if c not in CLASSES["value"])
        p, i = guarded.put(data), 0
        while (name := kernels.kernel(i, p, len(data), words)) is not None:
            if name:
                count = (len(data) + 63) // 64
                assert sum(words[k] << 64 * k for k in range(count)) == expected, (name, data)
                ran.add(name)
            i += 1
    assert {b"scalar"} < ran


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1023, 1024, 1025, 1087, 2048, 2050, 5000])
def test_windows_join(kernels, guarded, size):
    draw = random.Random(size)
    for rare in (1, 0.3, 0.01, 0):
        data = bytes(draw.choice(b"\r\n\x7f") if draw.random() < rare else draw.choice(b"a\t\x80") for _ in range(size))
        found = (ctypes.c_uint32 * (size + 1))()
        n = kernels.walk(guarded.put(data), size, found)
        assert list(found[:n]) == [i for i, c in enumerate(data) if c not in CLASSES["value"]]


@pytest.mark.parametrize("name", CLASSES)
def test_every_byte_at_every_place_ends_a_scan_or_not(kernels, guarded, name):
    scan, good = getattr(kernels, name), CLASSES[name]
    for n in range(40):
        assert scan(guarded.put(b"a" * n), n) == n
        for at in range(n):
            for c in range(256) if n in {5, 20, 39} else (0, 0x20, 0x7F, 0x80):
                data = b"a" * at + bytes([c]) + b"a" * (n - at - 1)
                assert scan(guarded.put(data), n) == (n if c in good else at), data


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names are looked at byte by byte elsewhere")
def test_near_names(kernels, guarded):
    for size in range(18):
        for at in {0, size // 2, size - 1} & set(range(size)):
            for c in range(256):
                data = (b"a" * at + bytes([c]) + b"Z" * (size - at - 1) + b": x" + b"-" * 16)[:16]
                name = data.partition(b":")[0]
                expected = len(name) if len(name) < 16 and set(name) <= NAME else 0
                assert kernels.near_name(guarded.put(data), 16) == expected, data


def test_words_are_compared_in_any_case(kernels, guarded):
    for word in (b"keep-alive", b"close", b"upgrade", b"chunked", b"http", b"https"):
        for data in (word, word.upper(), word.title()):
            assert kernels.is_word(guarded.put(data), len(data), word, len(word))
            assert not kernels.is_word(guarded.put(data[:-1]), len(data) - 1, word, len(word))
            for at in range(len(word)):
                other = data[:at] + b"x" + data[at + 1 :]
                assert not kernels.is_word(guarded.put(other), len(other), word, len(word))
            padded = guarded.put(data.ljust(16, b"!"))
            assert kernels.same_lower(padded, word.ljust(16, b"?"), len(word))
            assert not kernels.same_lower(padded, word.ljust(16, b"?"), len(word) + 1)
