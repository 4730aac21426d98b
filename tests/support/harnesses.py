"""The fuzz harnesses of tests/fuzz: how they are built, replayed and run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import native
import sanitized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOLDER = sanitized.ROOT / "tests/fuzz"
MODULES = ("http1", "client_hello", "regex", "image", "segment", "layer4", "snapshot", "router")
HTTP1_WORDS = FOLDER / "http1.dict"
WRAPPED = ("clock_gettime", "connect", "mmap", "munmap", "socket")  # the world around an engine is the harness's
ENGINE_FLAGS = (
    "-pthread",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    *(f"-Wl,--wrap={name}" for name in WRAPPED),
)


@dataclass(frozen=True)
class Harness:
    """One C file, its corpus, and the functions that it is about: (compiled module, exported function)."""

    name: str
    subjects: tuple[tuple[str, str], ...]
    longest: int  # bytes of the inputs that a search makes
    engine: bool = (
        False  # the subjects are the engine's: (C file, function or "" for all), and the program is linked with it
    )
    dictionary: Path | None = None  # words that a search puts into its inputs, in libFuzzer's format

    @property
    def corpus(self) -> Path:
        return FOLDER / "corpus" / self.name

    def program(self, variant: sanitized.Variant, edits: Sequence[sanitized.Edit] = ()) -> Path:
        """The program; `edits` are of the engine's files, if it is linked with them."""
        parts = [FOLDER / f"{self.name}.c", FOLDER / "embed.c"]
        if variant is not sanitized.LIBFUZZER:
            parts.append(FOLDER / "replay.c")
        if not self.engine:
            return sanitized.program(variant, self.name, parts)
        csrc = sanitized.engine(edits)
        flags = (*ENGINE_FLAGS, *native.nghttp2_includes(), *(("--coverage", "-O0") if variant.coverage else ()))
        libraries = (*map(str, native.nghttp2_objects()), *native.LIBRARIES)
        return sanitized.program(variant, self.name, [*parts, *sorted(csrc.glob("fg_*.c"))], flags, csrc, libraries)

    def replay(self, variant: sanitized.Variant, files: Sequence[Path], core: Path | None = None) -> str:
        """Give files to the harness; RuntimeError with what it said when it found something."""
        command = [self.program(variant), *files]
        environment = sanitized.environment(core or sanitized.modules(variant, MODULES))
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: exit code {done.returncode}\n{done.stderr[-6000:]}")
        return done.stdout


VERDICT = (
    ("fg_call.c", ""),
    ("fg_ring.h", ""),
    *(
        ("fg_filter.c", name)
        for name in ("fail", "fg_filter_kept", "filters_run", "find", "keep", "lose", "take_verdict", "take_verdicts")
    ),
    *(("fg_filter_body.c", name) for name in ("fg_filter_body_verdict", "replace")),
)
HARNESSES = {
    h.name: h
    for h in (
        Harness("request", (("http1", "h1_request"), ("http1", "path_normalize")), 1024, dictionary=HTTP1_WORDS),
        Harness("response", (("http1", "h1_response"),), 1024, dictionary=HTTP1_WORDS),
        Harness("chunked", (("http1", "h1_chunk"), ("http1", "h1_trailers")), 1024, dictionary=HTTP1_WORDS),
        Harness("client_hello", (("client_hello", "client_hello"),), 2048),
        Harness("router", (("router", "match"),), 512),
        Harness("image", (("image", "image_check"), ("image", "image_open")), 256),
        Harness("verdict", VERDICT, 512, engine=True),
    )
}
