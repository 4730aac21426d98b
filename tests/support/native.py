"""Builds the C test programs with gcc: objects are cached by the hash of everything that goes into them.

A program that embeds the interpreter links the C files that Cython generated beside the .pyx files into itself, so that one
set of flags (a sanitizer, --wrap of the linker) holds for the engine and for the parsers alike.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import nghttp2

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
TESTS = ROOT / "tests" / "csrc"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate" / "native"
UNUSED_SECONDS = 14 * 86400

ENGINE = sorted(CSRC.glob("fg_*.c"))
LIBRARIES = ("-lssl", "-lcrypto")  # of the engine
MODULES = ("client_hello", "http1", "image", "regex", "router")  # of fastgate.core: what an engine calls

ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREAD = ("-fsanitize=thread",)
COMPILE = ("-g", "-O1", "-fno-omit-frame-pointer", "-fno-strict-aliasing", "-pthread", "-D_GNU_SOURCE")
WARN = ("-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers")


def _gcc(source: Path) -> str:
    return "g++" if source.suffix == ".cc" else "gcc"


@cache
def _version() -> str:
    return subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout


def _includes() -> list[str]:
    return [f"-I{CSRC}", f"-I{TESTS}", *nghttp2_includes(), "-isystem", sysconfig.get_path("include")]


def nghttp2_includes() -> list[str]:
    """For the engine's files."""
    return [f"-I{path}" for path in nghttp2.sources().includes]


def nghttp2_objects(flags: tuple[str, ...] = ()) -> list[Path]:
    """What the engine is linked with, compiled with these flags."""
    macros = tuple(f"-D{name}={value}" for name, value in nghttp2.MACROS)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda source: _object(source, (*flags, *macros, "-w")), nghttp2.sources().files))


def _made(digest: str, suffix: str, command: list[str]) -> Path:
    """The file that `command` makes, which is told its name last; made once for each digest, by one process at a time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{digest}{suffix}"
    with (CACHE / f"{digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            os.utime(path)
            return path
        draft = path.with_suffix(".draft")
        done = subprocess.run([*command, "-o", str(draft)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        draft.replace(path)
        _forget_unused()
    return path


def _forget_unused() -> None:
    for path in CACHE.iterdir():
        with contextlib.suppress(FileNotFoundError):  # others forget, too
            if path.stat().st_mtime < time.time() - UNUSED_SECONDS:
                path.unlink()


def _digest(*parts: bytes | str) -> str:
    h = hashlib.sha256(_version().encode())
    for part in parts:
        h.update(part.encode() if isinstance(part, str) else part)
        h.update(b"\0")
    return h.hexdigest()[:40]


def _object(source: Path, flags: tuple[str, ...]) -> Path:
    command = [_gcc(source), *COMPILE, *flags, *_includes()]
    listed = subprocess.run([*command, "-MM", str(source)], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr
    files = sorted(set(listed.stdout.replace("\\\n", " ").split()[1:]))
    digest = _digest(*command, *files, *(Path(f).read_bytes() for f in files))
    return _made(digest, ".o", [*command, "-c", str(source)])


def _python() -> list[str]:
    directory, version = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDVERSION")
    return [f"-L{directory}", f"-Wl,-rpath,{directory}", f"-lpython{version}", "-lre2", "-ldl", "-lm"]


def program(sources: list[Path], flags: tuple[str, ...], *, embed: bool = False, link: tuple[str, ...] = ()) -> Path:
    """Compile, link, return the executable. `embed`: with the parsers and what they need of the interpreter."""
    work = [(s, (*flags, *WARN)) for s in sources]
    libraries: list[str] = []
    if embed:
        where = (f'-DPYTHON_HOME="{sys.base_prefix}"', f'-DPACKAGES="{ROOT / "src"}"')
        generated = [ROOT / "src" / "fastgate" / "core" / f"{name}.c" for name in MODULES]
        work += [(TESTS / "fg_host.c", (*flags, *WARN, *where)), (CSRC / "fg_re2.cc", flags)]
        work += [(s, (*flags, "-w")) for s in generated]
        libraries = _python()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [str(o) for o in pool.map(lambda w: _object(*w), work)]
    if any(s.parent == CSRC and s.name.startswith("fg_h2") for s in sources):
        objects += map(str, nghttp2_objects(flags))
    command = ["g++" if embed else "gcc", "-pthread", *flags, *link, *objects, *libraries, *LIBRARIES]
    return _made(_digest(*command), "", command)


def run(binary: Path, *arguments: str | Path, seconds: float = 60) -> str:
    """Run it to its end and return what it printed; whatever a sanitizer finds is a failure."""
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    }
    command = [str(binary), *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False
    )
    output = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, f"{binary.name} ended with {done.returncode}:\n{output[-8000:]}"
    return output
