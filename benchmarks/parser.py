"""One request head of 703 bytes through three parsers, turn by turn: `python -m benchmarks.parser`.

The peers are C libraries, compiled here from their source distributions with a loop around them; nothing of them is kept in
this repository. The engine's own function runs in the same kind of loop, without the GIL, in `http1.parse_many`.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.load import interval
from fastgate.core import http1

HEAD = (
    b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\nHost: www.kittyhell.com\r\n"
    b"User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 "
    b"Pathtraq/0.9\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip,deflate\r\nAccept-Charset: "
    b"Shift_JIS,utf-8;q=0.7,*;q=0.7\r\nKeep-Alive: 115\r\nConnection: keep-alive\r\nCookie: "
    b"wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx."
    b"xxxxxxxxxx.x; __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|"
    b"utmcmd=referral\r\n\r\n"
)

PICOHTTPPARSER = """
#include "picohttpparser.h"
size_t parse_many(const char *head, size_t size, unsigned rounds) {
    const char *method, *path;
    size_t method_len, path_len, fields, used = 0;
    int minor;
    struct phr_header headers[100];
    while (rounds--) {
        fields = 100;
        used = (size_t)phr_parse_request(head, size, &method, &method_len, &path, &path_len, &minor, headers, &fields, 0);
    }
    return used;
}
"""
LLHTTP = """
#include "llhttp.h"
size_t parse_many(const char *head, size_t size, unsigned rounds) {
    llhttp_t parser;
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    while (rounds--)
        if (llhttp_execute(&parser, head, size) != HPE_OK)
            return 0;
    return size;
}
"""
# name: source distribution, directory of the C files in it, flags, loop
PEERS = {
    "picohttpparser": ("gunicorn-h1c==0.6.10", "src/gunicorn_h1c/picohttpparser", ("-O3", "-msse4.2"), PICOHTTPPARSER),
    "llhttp": ("llhttp==9.3.0.0", "lib", ("-O3", "-msse4.2"), LLHTTP),
}
Loop = Callable[[bytes, int], int]


def build(directory: Path, package: str, sources: str, flags: tuple[str, ...], loop: str) -> Loop:
    """Fetch a peer's source distribution and compile it with a loop."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]
    subprocess.run([*pip, str(directory), package], check=True)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    (code,) = directory.glob(f"*/{sources}")
    (directory / "loop.c").write_text(loop)
    files = [str(directory / "loop.c"), *(str(p) for p in code.glob("*.c"))]
    library = directory / "loop.so"
    subprocess.run(["cc", *flags, "-fPIC", "-shared", f"-I{code}", *files, "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).parse_many
    function.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint)
    function.restype = ctypes.c_size_t
    return lambda head, rounds: int(function(head, len(head), rounds))


def nanoseconds(loop: Loop, rounds: int) -> float:
    """Time of one head."""
    start = time.perf_counter_ns()
    used = loop(HEAD, rounds)
    took = time.perf_counter_ns() - start
    if used != len(HEAD):
        sys.exit(f"a parser read {used} of {len(HEAD)} bytes")
    return took / rounds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="the request head parser beside picohttpparser and llhttp, as C libraries"
    )
    parser.add_argument("--blocks", type=int, default=15, help="a ratio is taken of the minima of each block")
    parser.add_argument("--turns", type=int, default=40, help="of every parser in a block")
    parser.add_argument("--heads", type=int, default=5000, help="in a turn")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        loops: dict[str, Loop] = {"fastgate": http1.parse_many}
        for peer, recipe in PEERS.items():
            directory = Path(name) / peer
            directory.mkdir()
            loops[peer] = build(directory, *recipe)
        blocks: list[dict[str, float]] = []
        for _ in range(options.blocks):
            turns = [
                {peer: nanoseconds(loop, options.heads) for peer, loop in loops.items()} for _ in range(options.turns)
            ]
            blocks.append({peer: min(turn[peer] for turn in turns) for peer in loops})
    print(
        f"{len(HEAD)} bytes, {options.blocks} blocks of {options.turns} turns\nparser            ns   fastgate's time / its own [95%]"
    )
    for peer in loops:
        ratio = "{:.3f} [{:.3f}, {:.3f}]".format(*interval([b["fastgate"] / b[peer] for b in blocks]))
        print(f"{peer:15} {statistics.median(b[peer] for b in blocks):5.1f}   {ratio if peer != 'fastgate' else ''}")


if __name__ == "__main__":
    main()
