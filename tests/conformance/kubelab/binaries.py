"""The programs of a cluster, built from their Go modules once and kept in the user's cache."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import gateway_api

if TYPE_CHECKING:
    from collections.abc import Sequence

KUBERNETES = "v1.36.3"
_STAGING = "v0.36.3"  # of the k8s.io modules that are released with it
_SOURCES = Path(__file__).parents[1] / "go"
_ETCD, _SUITE = _SOURCES / "etcd", _SOURCES / "suite"
_ECHO = "sigs.k8s.io/gateway-api-conformance-images/echo-basic"
_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kubectl")
_FLAGS = ("-trimpath", "-ldflags=-s -w")


@functools.cache
def directory() -> Path:
    """Where the programs are, or will be: named after all that goes into them."""
    parts = [KUBERNETES, _STAGING, *_FLAGS, *(path.read_text() for path in sorted(_SOURCES.glob("*/*")))]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate"
    return cache / f"kubernetes-{digest[:16]}"


def built() -> bool:
    return directory().is_dir()


def build() -> Path:
    """Build what is missing (about six minutes on two cores); others that want the same wait for it."""
    target = directory()
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "kubernetes.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built():
            draft = target.with_name(f"{target.name}.new")
            draft.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory() as scratch:
                _build_kubernetes(draft, Path(scratch))
            _go("build", *_FLAGS, "-mod=readonly", "-o", draft / "etcd", ".", where=_ETCD)
            _go("build", *_FLAGS, "-mod=readonly", "-o", draft / "echo-basic", _ECHO, where=_SUITE)
            suite = f"{gateway_api.MODULE.partition('@')[0]}/conformance"
            _go("test", "-c", *_FLAGS, "-mod=readonly", "-o", draft / "conformance.test", suite, where=_SUITE)
            draft.rename(target)
    return target


def _build_kubernetes(target: Path, scratch: Path) -> None:
    """Kubernetes refers to its own modules by paths inside its repository: a module beside it names their releases."""
    wanted = [name for name in _KUBERNETES if not (target / name).exists()]
    if not wanted:
        return
    found = _go("mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}", where=scratch)
    source = Path(json.loads(found)["Dir"])
    text = (source / "go.mod").read_text()
    text = text[: text.index("\nreplace")].replace("module k8s.io/kubernetes", "module fastgate.dev/tests/kubernetes")
    staged = [line.split()[0] for line in text.splitlines() if line.endswith(" v0.0.0")]
    text += "".join(f"\nreplace {module} => {module} {_STAGING}" for module in staged)
    (scratch / "go.mod").write_text(f"{text}\nrequire k8s.io/kubernetes {KUBERNETES}\n")
    shutil.copyfile(source / "go.sum", scratch / "go.sum")
    for name in wanted:
        draft = target / f"{name}.new"
        _go("build", *_FLAGS, "-mod=mod", "-o", draft, f"k8s.io/kubernetes/cmd/{name}", where=scratch)
        draft.rename(target / name)


def _go(*arguments: str | Path, where: Path) -> str:
    command: Sequence[str | Path] = [gateway_api.go(), *arguments]
    environment = {**gateway_api.environment(), "CGO_ENABLED": "0"}
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"go {' '.join(map(str, arguments))}: {done.stderr[-4000:]}")
    return done.stdout
