"""The Go module sigs.k8s.io/gateway-api of the version that is served: fetched, never committed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml

MODULE = "sigs.k8s.io/gateway-api@v1.7.0"


@functools.cache
def directory() -> Path:
    """Where the module is; the test is skipped where it cannot be fetched."""
    if shutil.which("go") is None:
        pytest.skip("needs go to fetch the module")
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "GO111MODULE": "on", "GOTOOLCHAIN": "auto"}
        found = subprocess.run(
            ["go", "mod", "download", "-json", MODULE],
            cwd=empty,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if found.returncode:
        pytest.skip(f"the module cannot be fetched: {found.stderr or found.stdout}")
    return Path(json.loads(found.stdout)["Dir"])


def crd(plural: str, channel: str = "standard") -> dict:
    return yaml.safe_load(
        (directory() / "config" / "crd" / channel / f"gateway.networking.k8s.io_{plural}.yaml").read_text()
    )


def documents(*patterns: str):
    """(path, document) of the module's files."""
    root = directory()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            for document in yaml.safe_load_all(path.read_text()):
                if document and "kind" in document:
                    yield str(path.relative_to(root)), document
