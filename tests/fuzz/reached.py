"""Which lines of a harness's subject its corpus reaches: gcov's counters, which setup.py's coverage switch maps to the .pyx.

The subject of a harness is the functions it calls and everything that these call in the same module, as far as it is C: the
body of each `cdef ... noexcept nogil` function. Of the engine it is the functions that the harness names, or whole files.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import harnesses
import sanitized

WANTED = 0.95
FUNCTION = re.compile(r"^cdef [^(=\n]*?(\w+)\([^()]*(?:\([^()]*\)[^()]*)*\) noexcept nogil:", re.MULTILINE)


def functions(text: str) -> dict[str, tuple[int, int, str]]:
    """Functions of a module without the GIL: first line of the body, line behind it, text of the body."""
    found = {}
    for head in FUNCTION.finditer(text):
        body = re.match(r"[^\n]*\n(?:(?:[ \t][^\n]*)?\n)*", text[head.end() :])
        first = text.count("\n", 0, head.end()) + 1
        found[head[1]] = (first, first + body[0].count("\n"), body[0])
    return found


def subject(module: str, exported: str) -> set[int]:
    """Lines of the function and of all that it calls."""
    every = functions((sanitized.ROOT / "src/fastgate/core" / f"{module}.pyx").read_text())
    lines, waiting, seen = set(), [exported], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in every:
            continue
        seen.add(name)
        first, last, body = every[name]
        lines |= set(range(first, last))
        waiting += re.findall(r"\b(\w+)\(", body)
    return lines


def gcov(data: Path, place: Path) -> list[dict[str, Any]]:
    """What gcov says of an object file's sources, one by one."""
    done = subprocess.run(
        ["gcov", "--json-format", "--stdout", data], cwd=place, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)["files"]


def counters(module: str, place: Path) -> dict[int, int]:
    """How often gcov says that each line ran; -O0, so that no line is hidden in another."""
    counts: dict[int, int] = {}
    for file in gcov(next(place.glob(f"tmp/**/{module}.gcda")), place):
        if file["file"].endswith(f"core/{module}.pyx"):
            for line in file["lines"]:
                counts[line["line_number"]] = max(counts.get(line["line_number"], 0), line["count"])
    return counts


def engine_lines(harness: harnesses.Harness) -> dict[tuple[str, int], int]:
    """How often the corpus runs each line of the engine's functions; a header's count in each file that includes it."""
    place = harness.program(sanitized.COVERAGE).parent
    for old in place.glob("*.gcda"):
        old.unlink()
    harness.replay(sanitized.COVERAGE, sorted(harness.corpus.iterdir()))
    reached: dict[tuple[str, int], int] = {}
    for data in sorted(place.glob("*-fg_*.gcda")):
        for file in gcov(data, place):
            name = Path(file["file"]).name
            wanted = {function for subject, function in harness.subjects if subject == name}
            spans = [(f["start_line"], f["end_line"]) for f in file["functions"] if wanted & {"", f["name"]}]
            for line in file["lines"]:
                at = name, line["line_number"]
                if any(first <= at[1] <= last for first, last in spans):
                    reached[at] = max(reached.get(at, 0), line["count"])
    return reached


def lines(harness: harnesses.Harness) -> dict[tuple[str, int], int]:
    """How often the corpus runs each line of the subject."""
    if harness.engine:
        return engine_lines(harness)
    core = sanitized.modules(sanitized.COVERAGE, harnesses.MODULES)
    place = core.parents[2]
    for old in place.glob("tmp/**/*.gcda"):
        old.unlink()
    harness.replay(sanitized.COVERAGE, sorted(harness.corpus.iterdir()), core)
    reached = {}
    for module, exported in harness.subjects:
        wanted = subject(module, exported)
        reached |= {(module, at): n for at, n in counters(module, place).items() if at in wanted}
    return reached
