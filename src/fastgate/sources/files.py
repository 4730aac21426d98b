"""Files and directories of YAML to documents, again and again, without losing what was good.

A file that cannot be read or parsed keeps the documents it had. One that is gone or empty does so for `GRACE` seconds:
editors and `kubectl cp` empty or replace a file before they fill it, and a ConfigMap's volume swaps a symbolic link.
"""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from fastgate.problems import Problem
from fastgate.sources.documents import MAX_BYTES, Document, YamlError, parse
from fastgate.sources.objects import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastgate.problems import Mark
    from fastgate.sources.objects import Fields

GRACE = 2.0  # seconds
SUFFIXES = (".yaml", ".yml", ".json")

_SEPARATOR = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_NEEDS_THE_WHOLE = re.compile(r"^(?:%|\.\.\.)", re.MULTILINE)  # directives, and documents that end themselves


@dataclass(slots=True)
class _Chunk:
    """Text that holds whole documents, and what it means."""

    text: str
    documents: list[Document]


@dataclass(slots=True)
class _Placed:
    """A chunk in a file."""

    line: int  # the one before its first
    chunk: _Chunk
    sources: list[Source]


@dataclass(slots=True)
class _File:
    """A file as it was read last."""

    path: Path
    signature: tuple[int, ...] = ()
    chunks: list[_Placed] = field(default_factory=list)
    problem: Problem | None = None
    missing_since: float | None = None


class Files:
    """Reads paths into sources of documents. Chunks of text that did not change keep their document objects.

    A pass over what did not change is a `stat` of each file: their paths and sources are kept.
    """

    def __init__(self, paths: list[Path]) -> None:
        """Read these files, and the files directly in these directories whose names end in .yaml, .yml or .json."""
        self.paths = paths
        self._inside: dict[Path, dict[str, Path]] = {}  # the files of directories, by name
        self._files: dict[Path, _File] = {}
        self._chunks: dict[str, _Chunk] = {}

    def read(self, now: float | None = None) -> tuple[list[Source], list[Problem]]:
        """Read what changed since the last call; return every document in the order of the paths, and what is wrong."""
        now = time.monotonic() if now is None else now
        problems: list[Problem] = []
        present = dict.fromkeys(self._listed(problems))
        files: dict[Path, _File] = {}
        for path in [*present, *(p for p in self._files if p not in present)]:
            file = self._files.get(path) or _File(path)
            self._refresh(file, now)
            if file.missing_since is not None and now - file.missing_since >= GRACE:
                if path in self.paths:
                    problems.append(Problem("the file is gone; its objects are no longer served", str(path)))
                continue
            if file.problem is not None:
                problems.append(file.problem)
            files[path] = file
        self._files = files
        self._chunks = {placed.chunk.text: placed.chunk for file in files.values() for placed in file.chunks}
        return [s for file in files.values() for placed in file.chunks for s in placed.sources], problems

    def pending(self) -> bool:
        """Whether a file is missing or empty and its time is not over: read again after GRACE."""
        return any(file.missing_since is not None for file in self._files.values())

    def _listed(self, problems: list[Problem]) -> Iterator[Path]:
        for path in self.paths:
            if path.is_dir():
                with os.scandir(path) as entries:
                    names = sorted(e.name for e in entries if not e.name.startswith(".") and e.name.endswith(SUFFIXES))
                known = self._inside.get(path, {})
                self._inside[path] = {name: known.get(name) or path / name for name in names}
                yield from self._inside[path].values()
            elif path.exists() or path in self._files:
                yield path
            else:
                problems.append(Problem("no such file or directory", str(path)))

    def _refresh(self, file: _File, now: float) -> None:
        try:
            found = file.path.stat()
            signature = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
            if signature == file.signature or not stat.S_ISREG(found.st_mode):
                return
            if found.st_size > MAX_BYTES:
                file.signature = signature
                file.problem = Problem(f"the file is larger than {MAX_BYTES >> 20} MiB", str(file.path))
                return
            text = file.path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as e:
            before = e.object[: e.start]
            file.signature = signature
            file.problem = Problem(
                f"not UTF-8: byte 0x{e.object[e.start]:02x} cannot be decoded",
                str(file.path),
                (before.count(b"\n") + 1, len(before) - before.rfind(b"\n")),
            )
            return
        except OSError as e:
            if file.missing_since is None:
                file.missing_since = now
            file.signature = ()
            if not file.chunks and file.path in self.paths:
                file.problem = Problem(f"cannot be read: {e.strerror}", str(file.path))
            return
        if not text.strip() and file.chunks:
            file.missing_since = now if file.missing_since is None else file.missing_since
            return
        file.missing_since = None
        file.signature = signature
        self._parse(file, text)

    def _parse(self, file: _File, text: str) -> None:
        before = {(placed.line, placed.chunk.text): placed for placed in file.chunks}
        chunks: list[_Placed] = []
        for line, part in _split(text):
            if (placed := before.get((line, part))) is not None:
                chunks.append(placed)
                continue
            try:
                chunk = self._chunks.get(part) or _Chunk(part, parse(part))
            except YamlError as e:
                at, column = e.mark
                file.problem = Problem(str(e), str(file.path), (line + at if at else 0, column))
                return
            chunks.append(_Placed(line, chunk, _sources(file.path, line, chunk)))
        file.chunks = chunks
        file.problem = None


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text before its `---` lines: (lines before the part, the part)."""
    if _NEEDS_THE_WHOLE.search(text):
        yield 0, text
        return
    start = line = 0
    for match in _SEPARATOR.finditer(text):
        if match.start() > start:
            part = text[start : match.start()]
            yield line, part
            line += part.count("\n")
            start = match.start()
    yield line, text[start:]


def _sources(path: Path, line: int, chunk: _Chunk) -> list[Source]:
    return [
        Source(document.value, str(path), path.parent, partial(_mark, chunk.text, number, line))
        for number, document in enumerate(chunk.documents)
    ]


@lru_cache(maxsize=1)
def _marked(text: str) -> list[Document]:
    """The documents of a chunk with their marks; the last one's are kept, as problems come document by document."""
    return parse(text, with_marks=True)


def _mark(text: str, number: int, line: int, path: Fields) -> Mark:
    """Where a field stands in a file, by the chunk it is in, its document's number there, and the lines before."""
    at, column = _marked(text)[number].mark(path)
    return at + line, column
