"""Builds the compiled modules. Everything else is in pyproject.toml.

Switches, all environment variables:
  FASTGATE_SANITIZE=address,undefined   build with these sanitizers (run with LD_PRELOAD of their runtime);
                                        fuzzer-no-link as well with CC=clang CXX=clang++
  FASTGATE_COVERAGE=1                   gcov counters, of lines of the .pyx files
  FASTGATE_DEBUG=1                      -O0 -g3 and Cython's own checks
  FASTGATE_JOBS=N                       compiler processes (default: the machine's)
  FASTGATE_NGHTTP2=DIRECTORY            compile this copy of nghttp2 (default: fetched; see build_support/nghttp2.py)
"""

import hashlib
import os
import platform
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.append(str(Path(__file__).parent / "build_support"))
import nghttp2

if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
    sys.exit(f"fastgate runs on Linux, x86-64 and aarch64; this is {sys.platform} on {platform.machine()}")

SANITIZE = os.environ.get("FASTGATE_SANITIZE", "")
COVERAGE = os.environ.get("FASTGATE_COVERAGE") == "1"
DEBUG = os.environ.get("FASTGATE_DEBUG") == "1"
JOBS = int(os.environ.get("FASTGATE_JOBS", "0")) or os.cpu_count() or 1
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
LIMITED_API = not (COVERAGE or DEBUG or SANITIZE or FREE_THREADED)

WARNINGS = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers"]
COMPILE = ["-O0", "-g3"] if DEBUG else ["-O3", "-g", "-fno-plt", "-fno-semantic-interposition"]
COMPILE += ["-fvisibility=hidden", "-fno-strict-aliasing"]
LINK: list[str] = []
if SANITIZE:
    COMPILE += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-O1"]
    LINK += [f"-fsanitize={SANITIZE}"]
if COVERAGE:
    COMPILE += ["--coverage", "-O0"]
    LINK += ["--coverage"]
MACROS: list[tuple[str, str | None]] = [("_GNU_SOURCE", None)]
MACROS += [("Py_LIMITED_API", "0x030B0000")] if LIMITED_API else []

CSRC = Path("csrc")
ENGINE_SOURCES = sorted(str(p) for p in CSRC.glob("fg_*.c"))
HEADERS = sorted(str(p) for p in CSRC.glob("*.h"))


def extension(name: str, sources: list[str] | None = None, libraries: list[str] | None = None) -> Extension:
    """One compiled module of fastgate.core and the C or C++ files that are linked into it."""
    return Extension(
        f"fastgate.core.{name}",
        [f"src/fastgate/core/{name}.pyx", *(sources or [])],
        include_dirs=[str(CSRC)],
        depends=HEADERS,
        define_macros=MACROS,
        libraries=libraries or [],
        extra_compile_args=[*COMPILE, *WARNINGS],
        extra_link_args=LINK,
        py_limited_api=LIMITED_API,
    )


EXTENSIONS = [
    extension("http1", [str(CSRC / "fg_scan.c")]),
    extension("client_hello", [str(CSRC / "fg_scan.c")]),
    extension("regex", [str(CSRC / "fg_re2.cc")], ["re2"]),
    extension("image"),
    extension("segment"),
    extension("tables"),
    extension("layer4"),
    extension("snapshot"),
    extension("secrets"),
    extension("router"),
    extension("filters", [str(CSRC / "fg_call.c")]),
    extension("calls"),
    extension("engine", ENGINE_SOURCES, ["ssl", "crypto"]),
]


class Build(build_ext):
    """Compiles nghttp2 into the engine."""

    def _nghttp2_object(self, source: Path, includes: list[str]) -> str:
        flags = [*COMPILE, "-w"]
        digest = hashlib.sha256(repr((includes, nghttp2.MACROS, flags)).encode()).hexdigest()
        kept = Path(self.build_temp) / f"nghttp2-{digest[:16]}"
        (made,) = self.compiler.object_filenames([str(source)], output_dir=str(kept))
        if not Path(made).exists():
            self.compiler.compile(
                [str(source)],
                output_dir=str(kept),
                macros=[*nghttp2.MACROS, ("_GNU_SOURCE", None)],
                include_dirs=includes,
                extra_postargs=flags,
            )
        return made

    def build_extension(self, ext: Extension) -> None:
        """Add what is linked into it."""
        if ext.name == "fastgate.core.engine":
            try:
                copy = nghttp2.sources()
            except nghttp2.UnavailableError as why:
                sys.exit(f"fastgate: {why}")
            includes = [str(path) for path in copy.includes]
            with ThreadPoolExecutor(JOBS) as pool:
                ext.extra_objects = list(pool.map(lambda file: self._nghttp2_object(file, includes), copy.files))
            ext.include_dirs += includes
        super().build_extension(ext)


class Wheel(bdist_wheel):
    """Tags the wheel for every Python from 3.11 on when the modules use the limited API only."""

    def finalize_options(self) -> None:
        """Choose the tag."""
        if LIMITED_API:
            self.py_limited_api = "cp311"
        super().finalize_options()


setup(
    ext_modules=cythonize(
        [e for e in EXTENSIONS if Path(e.sources[0]).exists()],
        nthreads=JOBS,
        emit_linenums=COVERAGE,
        include_path=["src"],
        compiler_directives={
            "language_level": 3,
            "embedsignature": True,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "freethreading_compatible": True,
        },
    ),
    cmdclass={"bdist_wheel": Wheel, "build_ext": Build},
)
