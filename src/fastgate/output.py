"""What all commands print alike: problems, tables, colours on a terminal only."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from fastgate.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from fastgate.problems import Problem

_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33"}
MOST = 200  # problems that are printed; more would hide the first


def coloured(stream: TextIO) -> bool:
    """Whether colours belong on a stream: a terminal, and NO_COLOR is not set."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str, stream: TextIO) -> str:
    """Return the text in a colour where colours belong."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured(stream) else text


def print_problems(problems: Iterable[Problem], stream: TextIO | None = None) -> None:
    """Print problems, one a line, the first MOST of them."""
    out = sys.stderr if stream is None else stream
    listed = list(problems)
    for problem in listed[:MOST]:
        word = problem.severity.value + ":"
        print(str(problem).replace(word, paint(word, _COLOURS[problem.severity], out), 1), file=out)
    if len(listed) > MOST:
        print(f"... and {len(listed) - MOST:,} more", file=out)


def print_table(head: Sequence[str], rows: Iterable[Sequence[str]], stream: TextIO | None = None) -> None:
    """Print rows in columns that are as wide as they need to be."""
    out = sys.stdout if stream is None else stream
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    for number, line in enumerate(lines):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        print(paint(text, "1", out) if number == 0 else text, file=out)


def counted(number: int, noun: str) -> str:
    """Return "1 error", "2 errors"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
