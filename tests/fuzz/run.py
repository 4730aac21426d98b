"""Runs the fuzz harnesses; `./dev fuzz` calls it.

  ./dev fuzz [HARNESS...] [--seconds N]     search with libFuzzer, starting from the corpus and from what earlier runs kept
  ./dev fuzz [HARNESS...] --minimise        bring what searches kept into the corpus, as few inputs as cover the same
  ./dev fuzz [HARNESS...] --coverage        lines of each harness's subject that its corpus reaches, by gcov
  ./dev fuzz [HARNESS...] --planted         plant each known bug, and say how long the harness needs to find it

What searches keep, and findings, are under the cache directory, which is printed. A finding becomes a file of the corpus.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import harnesses
import planted
import reached
import sanitized

KEPT = sanitized.CACHE.parent / "fuzz"
PLANTED_SECONDS = 60


def libfuzzer(
    harness: harnesses.Harness,
    core: Path,
    *arguments: str | Path,
    log: Path | None = None,
    edits: Sequence[sanitized.Edit] = (),
) -> int:
    """Run the libFuzzer program; its output goes to `log`, or nowhere. `edits` are of an engine that it is linked with."""
    options = [f"-max_len={harness.longest}", *([f"-dict={harness.dictionary}"] if harness.dictionary else [])]
    command = ["nice", "-n", "19", harness.program(sanitized.LIBFUZZER, edits), *options, *arguments]
    with (log or Path(os.devnull)).open("wb") as out:
        return subprocess.run(
            command, env=sanitized.environment(core), stdout=out, stderr=subprocess.STDOUT, check=False
        ).returncode


def search(harness: harnesses.Harness, seconds: int) -> bool:
    place = KEPT / harness.name
    found = KEPT / f"{harness.name}-findings"
    place.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    log = KEPT / f"{harness.name}.log"
    core = sanitized.modules(sanitized.LIBFUZZER, harnesses.MODULES)
    started = time.monotonic()
    options = ["-use_value_profile=1", "-print_final_stats=1", "-timeout=20", f"-max_total_time={seconds}"]
    code = libfuzzer(harness, core, *options, f"-artifact_prefix={found}/", place, harness.corpus, log=log)
    said = [line for line in log.read_text(errors="replace").splitlines() if " cov: " in line]
    print(f"{harness.name}: exit code {code} after {time.monotonic() - started:.0f} s, {said[-1] if said else ''}")
    if code:
        print(log.read_text(errors="replace")[-4000:])
    return code == 0


def minimise(harness: harnesses.Harness) -> bool:
    """Keep the seeds, what was found, and of the rest as few inputs as reach the same."""
    core = sanitized.modules(sanitized.LIBFUZZER, harnesses.MODULES)
    with tempfile.TemporaryDirectory() as new:
        named = [*harness.corpus.glob("seed-*"), *harness.corpus.glob("found-*")]
        for path in named:
            shutil.copy(path, new)
        options = ["-set_cover_merge=1", "-use_counters=0"]
        code = libfuzzer(harness, core, *options, new, harness.corpus, KEPT / harness.name)
        if code == 0:
            shutil.rmtree(harness.corpus)
            harness.corpus.mkdir()
            for path in Path(new).iterdir():
                shutil.copy(path, harness.corpus / path.name[:12])
    files = list(harness.corpus.iterdir())
    print(f"{harness.name}: {len(files)} inputs, {sum(f.stat().st_size for f in files)} bytes")
    return code == 0


def coverage(harness: harnesses.Harness) -> bool:
    lines = reached.lines(harness)
    missed = sorted(at for at, count in lines.items() if not count)
    share = 1 - len(missed) / len(lines)
    print(f"{harness.name}: {share:.1%} of {len(lines)} lines; not reached: {', '.join(f'{f}:{n}' for f, n in missed)}")
    return share >= reached.WANTED


def find_planted(harness: harnesses.Harness) -> bool:
    """From nothing first, for that is what shows that the harness can search; then by the corpus."""
    good = True
    for bug in (b for b in planted.BUGS if b.harness == harness.name):
        edits = [bug.edit]
        core = sanitized.modules(sanitized.LIBFUZZER, harnesses.MODULES, () if harness.engine else edits)
        times = []
        for start in ([], [harness.corpus]):
            with tempfile.TemporaryDirectory() as empty:
                started = time.monotonic()
                options = ["-use_value_profile=1", f"-max_total_time={PLANTED_SECONDS}", f"-artifact_prefix={empty}/"]
                code = libfuzzer(harness, core, *options, empty, *start, edits=edits if harness.engine else ())
                times.append(f"{time.monotonic() - started:.1f} s" if code else "not found")
        good = good and times[1] != "not found"
        print(f"{harness.name}: {bug.name}: from nothing {times[0]}, from the corpus {times[1]}", flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", nargs="*", choices=[[], *harnesses.HARNESSES], help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="of each search (default: 60)")
    parser.add_argument("--jobs", type=int, default=2, help="harnesses at a time (default: 2)")
    action = parser.add_mutually_exclusive_group()
    for name in ("minimise", "coverage", "planted"):
        action.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    chosen = [harnesses.HARNESSES[name] for name in options.harness or harnesses.HARNESSES]
    if options.coverage:
        done = list(map(coverage, chosen))
    else:
        sanitized.modules(sanitized.LIBFUZZER, harnesses.MODULES)
        print(f"logs, findings and kept inputs: {KEPT}", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            if options.planted:
                done = list(pool.map(find_planted, chosen))
            elif options.minimise:
                done = list(pool.map(minimise, chosen))
            else:
                done = list(pool.map(lambda h: search(h, options.seconds), chosen))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
