"""What an API server says to documents: verdicts of tests/crd-oracle, built once for its sources and the toolchain."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import gateway_api

_SOURCES = Path(__file__).parents[1] / "crd-oracle"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The object with its defaults, or what is wrong."""

    object: dict | None
    errors: tuple[tuple[str, str], ...]  # field, message


def judge(documents: list[dict], channel: str = "standard", crds: Path | None = None) -> list[Verdict]:
    """By the Gateway API's CRDs of a channel, or those of a directory."""
    crds = crds or gateway_api.directory() / "config" / "crd" / channel
    out = _filtered(documents, str(crds))
    return [Verdict(v.get("object"), tuple((e["field"], e["message"]) for e in v.get("errors", ()))) for v in out]


def json_of(texts: list[str]) -> list[dict]:
    """What clients send for YAML texts: {"json": value} or {"error": why}."""
    return _filtered(texts, "-yaml")


def _filtered(values: list, argument: str) -> list[dict]:
    lines = "".join(json.dumps(value) + "\n" for value in values)
    run = subprocess.run([_binary(), argument], input=lines, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


@functools.cache
def _binary() -> Path:
    """The compiled oracle, in the user's cache; several test processes build it once."""
    go = gateway_api.go()
    version = subprocess.run([go, "version"], capture_output=True, check=True).stdout
    sources = sorted(path for path in _SOURCES.iterdir() if path.suffix in (".go", ".mod", ".sum"))
    digest = hashlib.sha256(version + b"".join(path.read_bytes() for path in sources)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate"
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"crd-oracle-{digest[:16]}"
    with (cache / "crd-oracle.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            built = binary.with_suffix(".new")
            command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", built, "."]
            run = subprocess.run(
                command, cwd=_SOURCES, env=gateway_api.environment(), capture_output=True, text=True, check=False
            )
            if run.returncode:
                gateway_api.unavailable(f"the oracle cannot be built: {run.stderr}")
            built.rename(binary)
    return binary
