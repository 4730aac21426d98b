"""The sources of nghttp2, which is compiled into the engine: fetched once, checked, kept outside the tree.

The Python package ngh2 carries them in its source distribution; nothing of the package itself is used. FASTGATE_NGHTTP2
names the directory of another copy (a release of nghttp2, unpacked), of at least MINIMUM.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE, RELEASE = "ngh2", "0.3.0"  # carries nghttp2 1.70.0
SHA256 = "09b995aa65b8a397de652fd7a9b3877d6d1e24c10d2effc36204a3f37aa73440"
INSIDE = "vendor/nghttp2"
MINIMUM = (1, 68, 1)  # CVE-2026-27135

MACROS: list[tuple[str, str | None]] = [
    ("HAVE_ARPA_INET_H", "1"),
    ("HAVE_NETINET_IN_H", "1"),
    ("HAVE_CLOCK_GETTIME", "1"),
    ("HAVE_DECL_CLOCK_MONOTONIC", "1"),
]


class UnavailableError(Exception):
    """There are no sources of nghttp2; the message says what to do."""


@dataclass(frozen=True)
class Sources:
    """A copy that can be compiled."""

    files: list[Path]
    includes: list[Path]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate"


def _version(copy: Path) -> tuple[int, ...]:
    try:
        found = re.search(r"project\(nghttp2 VERSION ([0-9.]+)", (copy / "CMakeLists.txt").read_text())
    except OSError:
        found = None
    if found is None:
        raise UnavailableError(f"{copy} has no sources of nghttp2")
    return tuple(map(int, found[1].split(".")))


def _download(into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", PACKAGE, "--dest", str(into), f"{PACKAGE}=={RELEASE}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = list(into.glob("*.tar.gz"))
    if not archives:
        raise UnavailableError(
            f"the sources of nghttp2 cannot be fetched: `{' '.join(command[2:])}` says:\n"
            f"{done.stderr.strip()}\nFASTGATE_NGHTTP2 may name the directory of a release of nghttp2, "
            f"{'.'.join(map(str, MINIMUM))} or later."
        )
    return archives[0]


def _fetched() -> Path:
    kept = _cache() / f"nghttp2-{SHA256[:16]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if kept.exists():
            return kept
        with tempfile.TemporaryDirectory(dir=kept.parent) as draft:
            archive = _download(Path(draft))
            digest = hashlib.sha256(archive.read_bytes()).hexdigest()
            if digest != SHA256:
                raise UnavailableError(f"{archive.name} is not what was expected: SHA-256 {digest}, not {SHA256}")
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):  # not in every Python 3.11
                    tar.extraction_filter = tarfile.data_filter
                tar.extractall(draft)  # noqa: S202 - it is what was expected
            (copy,) = Path(draft).glob(f"*/{INSIDE}")
            shutil.move(copy, kept)
    return kept


def _version_header(version: tuple[int, ...]) -> Path:
    """The directory of the one header that nghttp2's own build generates."""
    text = ".".join(map(str, version))
    number = int("".join(f"{part:02x}" for part in version), 16)
    directory = _cache() / f"nghttp2-header-{text}"
    header = directory / "nghttp2" / "nghttp2ver.h"
    header.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=header.parent, delete=False) as draft:
        draft.write(f'#define NGHTTP2_VERSION "{text}"\n#define NGHTTP2_VERSION_NUM {number:#x}\n')
    if header.exists() and header.read_text() == Path(draft.name).read_text():
        Path(draft.name).unlink()  # as old as before, for those who compare times
    else:
        Path(draft.name).replace(header)
    return directory


def sources() -> Sources:
    """A copy to compile. Raises UnavailableError."""
    named = os.environ.get("FASTGATE_NGHTTP2")
    copy = Path(named).absolute() if named else _fetched()
    version = _version(copy)
    if version < MINIMUM:
        raise UnavailableError(
            f"{copy} is nghttp2 {'.'.join(map(str, version))}; {'.'.join(map(str, MINIMUM))} or later is needed"
        )
    lib = copy / "lib"
    return Sources(sorted(lib.glob("*.c")), [lib / "includes", _version_header(version)])
