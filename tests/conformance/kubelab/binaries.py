"""Programs that are built from their Go modules once, and kept in the user's cache."""

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
    from collections.abc import Iterable

KUBERNETES = "v1.36.3"
_STAGING = "v0.36.3"  # of the k8s.io modules that are released with it
_SOURCES = Path(__file__).parents[1] / "go"
_FLAGS = ("-trimpath", "-ldflags=-s -w")
_SUITE = f"{gateway_api.MODULE.partition('@')[0]}/conformance"

# By module: programs and their packages. Those of ../go say in their go.mod what they are made of.
_MODULES = {
    "kubernetes": {
        name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-apiserver", "kube-controller-manager", "kubectl")
    },
    "etcd": {"etcd": "."},
    "suite": {
        "echo-basic": "sigs.k8s.io/gateway-api-conformance-images/echo-basic",
        "conformance.test": _SUITE,
    },
    "helm": {"helm": "helm.sh/helm/v4/cmd/helm"},
}
CLUSTER = ("kubernetes", "etcd", "suite")  # what a cluster and a run of the suite need


def program(name: str) -> Path:
    """Where a program is, once it is built."""
    return next(directory(module) / name for module, programs in _MODULES.items() if name in programs)


@functools.cache
def directory(module: str) -> Path:
    """Where a module's programs are: named after all that goes into them."""
    parts = [*_FLAGS, *(path.read_text() for path in sorted((_SOURCES / module).glob("*")))]
    if module == "kubernetes":
        parts += [KUBERNETES, _STAGING]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return _cache() / f"{module}-{digest[:16]}"


def build(modules: Iterable[str] = CLUSTER) -> list[Path]:
    """Build what is missing (six minutes on two cores for a cluster); others that want the same wait. Directories."""
    _cache().mkdir(parents=True, exist_ok=True)
    for module in modules:
        with (_cache() / f"{module}.lock").open("w") as lock, tempfile.TemporaryDirectory() as scratch:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory(module).exists():
                _build(module, Path(scratch))
    return [directory(module) for module in modules]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate"


def _build(module: str, scratch: Path) -> None:
    where, mode = _SOURCES / module, "-mod=readonly"
    if module == "kubernetes":
        _write_kubernetes_module(scratch)
        where, mode = scratch, "-mod=mod"
    draft = directory(module).with_suffix(".new")
    draft.mkdir(exist_ok=True)
    for name, package in _MODULES[module].items():
        how = ("test", "-c") if name.endswith(".test") else ("build",)
        _go(*how, *_FLAGS, mode, "-o", draft / name, package, where=where)
    draft.rename(directory(module))


def _write_kubernetes_module(where: Path) -> None:
    """Kubernetes refers to its own modules by paths inside its repository; this module names their releases."""
    found = _go("mod", "download", "-json", f"k8s.io/kubernetes@{KUBERNETES}", where=where)
    source = Path(json.loads(found)["Dir"])
    text = (source / "go.mod").read_text()
    text = text[: text.index("\nreplace")].replace("module k8s.io/kubernetes", "module fastgate.dev/tests/kubernetes")
    staged = [line.split()[0] for line in text.splitlines() if line.endswith(" v0.0.0")]
    text += "".join(f"\nreplace {module} => {module} {_STAGING}" for module in staged)
    (where / "go.mod").write_text(f"{text}\nrequire k8s.io/kubernetes {KUBERNETES}\n")
    shutil.copyfile(source / "go.sum", where / "go.sum")


def _go(*arguments: str | Path, where: Path) -> str:
    environment = {**gateway_api.environment(), "CGO_ENABLED": "0"}
    command = ["nice", gateway_api.go(), *map(str, arguments)]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-4000:]}")
    return done.stdout
