"""Builds of the compiled modules with sanitizers or counters, and of C programs that use them.

There is one build system: setup.py, run on a copy of the sources outside the tree. A build's directory is named by a hash of
everything that goes into it (sources, compilers, Python, switches), so that a second run finds it, and two checkouts share it.

    core = sanitized.modules(sanitized.GCC, ["http1", "regex"])          # directory of http1*.so and regex*.so
    program = sanitized.program(sanitized.GCC, "replay", [Path("replay.c")])
    subprocess.run([program], env=sanitized.environment(core))

A program that embeds the interpreter finds the Python files of `src` on its path and puts $FASTGATE_CORE, the directory of
the compiled modules, in front of `fastgate.core.__path__`. The runtime of the sanitizer comes first in the process because
the program is linked with it; nothing is preloaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import Cython

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate" / "builds"
KEPT = 12  # builds of one variant; those used the longest time ago are deleted


@dataclass(frozen=True)
class Variant:
    """How to compile: the compilers, setup.py's switches, and the flags of the programs that match them."""

    cc: str = "gcc"
    cxx: str = "g++"
    sanitize: str = ""
    coverage: bool = False
    flags: tuple[str, ...] = ()

    @property
    def compiler(self) -> dict[str, str]:
        """Environment of setup.py."""
        switches = {"CC": self.cc, "CXX": self.cxx, "FASTGATE_SANITIZE": self.sanitize}
        return switches | ({"FASTGATE_COVERAGE": "1"} if self.coverage else {})


GCC = Variant(sanitize="address,undefined", flags=("-fsanitize=address,undefined", "-fno-sanitize-recover=all"))
TSAN = Variant(sanitize="thread", flags=("-fsanitize=thread",))
COVERAGE = Variant(coverage=True)
LIBFUZZER = Variant(
    "clang",
    "clang++",
    sanitize="fuzzer-no-link,address,undefined",
    flags=("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
)


@dataclass(frozen=True)
class Edit:
    """A change of one source file of a build; `old` must stand in it exactly once."""

    file: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: {text.count(self.old)} times in it: {self.old!r}")
        return text.replace(self.old, self.new)


def sources(names: Iterable[str]) -> dict[str, str]:
    """Files of a build that has these modules, by path."""
    core = [ROOT / "src/fastgate/core" / f"{name}.pyx" for name in names]
    files = [
        ROOT / "setup.py",
        ROOT / "build_support/nghttp2.py",
        *core,
        *(ROOT / "src/fastgate/core").glob("*.pxd"),
        *(ROOT / "csrc").glob("*"),
    ]
    files += [ROOT / "src/fastgate" / name for name in ("__init__.py", "core/__init__.py")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted(files)}


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def toolchain(variant: Variant) -> list[str]:
    """What besides sources decides the outcome."""
    said = [subprocess.run([c, "--version"], check=True, capture_output=True).stdout for c in (variant.cc, variant.cxx)]
    return [
        repr(variant),
        sys.version,
        sys.prefix,
        Cython.__version__,
        (ROOT / "setup.py").read_text(),
        *map(repr, said),
    ]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def modules(variant: Variant, names: Sequence[str], edits: Sequence[Edit] = ()) -> Path:
    """Build these modules of fastgate.core unless it was done, and return the directory that holds them."""
    files = sources(names)
    for edit in edits:
        files[edit.file] = edit.apply(files[edit.file])
    family = CACHE / digest(toolchain(variant), sorted(names))
    place = family / digest(files)
    with locked(place):
        if not (place / "done").exists():
            build(variant, files, place, family)
        (place / "done").touch()
    return place / "lib/fastgate/core"


def build(variant: Variant, files: dict[str, str], place: Path, family: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    finished = sorted((d for d in family.glob("*/done")), key=lambda d: d.stat().st_mtime)
    if (
        finished and not variant.coverage
    ):  # start from a relative, whose times say what is new; counters know their place
        shutil.copytree(finished[-1].parent, place)
        (place / "done").unlink()
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    jobs = str(os.cpu_count() or 1)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", "lib", "--build-temp", "tmp", "-j", jobs]
    run(command, cwd=place, env=os.environ | variant.compiler | {"FASTGATE_JOBS": jobs})
    for old in finished[: -KEPT + 1]:
        shutil.rmtree(old.parent, ignore_errors=True)


def run(command: Sequence[str | Path], **options: object) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}")


def engine(edits: Sequence[Edit] = ()) -> Path:
    """The directory of the engine's C files: csrc, or a copy of it with these edits."""
    if not edits:
        return ROOT / "csrc"
    files = {f"csrc/{path.name}": path.read_text() for path in sorted((ROOT / "csrc").iterdir())}
    for edit in edits:
        files[edit.file] = edit.apply(files[edit.file])
    place = CACHE / "engines" / digest(files)
    with locked(place):
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    return place / "csrc"


def program(
    variant: Variant,
    name: str,
    parts: Sequence[Path],
    flags: Sequence[str] = (),
    csrc: Path = ROOT / "csrc",
    libraries: Sequence[str] = (),
) -> Path:
    """Compile and link a C program that embeds the interpreter; csrc and the parts' directories are searched for headers."""
    folders = sorted({str(p.parent) for p in parts} | {str(csrc)})
    headers = [path.read_text() for folder in folders for path in sorted(Path(folder).glob("*.h"))]
    library = sysconfig.get_config_var("LIBDIR")
    command = [variant.cc, "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-rdynamic"]
    command += [f'-DFUZZ_PYTHON="{sys.executable}"', *variant.flags, *flags, *map(str, parts)]
    command += [f"-I{folder}" for folder in (*folders, sysconfig.get_path("include"))]
    command += [f"-L{library}", f"-Wl,-rpath,{library}", f"-lpython{sysconfig.get_config_var('LDVERSION')}"]
    command += f"{sysconfig.get_config_var('LIBS')} {sysconfig.get_config_var('SYSLIBS')}".split()
    command += libraries
    place = CACHE / "programs" / digest(toolchain(variant), command, headers, [p.read_text() for p in parts])
    with locked(place):
        if not (place / name).exists():
            place.mkdir(parents=True, exist_ok=True)
            run([*command, "-o", str(place / name)])
    return place / name


def environment(core: Path, **more: str) -> dict[str, str]:
    """What a program needs to find the modules of this build and the Python files of this tree."""
    return (
        os.environ
        | {
            "FASTGATE_CORE": str(core),
            "PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("src", "tests/fuzz", "tests/support")),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:allocator_may_return_null=1",  # leaks: the interpreter's own
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        | more
    )
