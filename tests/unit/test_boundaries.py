"""Boundaries of the architecture that no other tool watches."""

import ast
import fcntl
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from certificates import filled

import fastgate
from fastgate.core import snapshot

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "fastgate").rglob("*.py"))
ENGINE_USERS = {"worker.py", "workers.py", "statistics.py", "admin/metrics.py", "plugins/runtime.py"}
LONGER = {"test_moments.py"}  # one table
LONGEST = {".c": 900, ".h": 900, ".cc": 900, ".pyx": 900, ".pxd": 900, ".py": 500}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_engine_knows_neither_python_nor_kubernetes():
    words = re.compile(
        r"Python\.h|\b(HTTPRoute|GatewayClass|kubernetes|ListenerSet|EndpointSlice|ReferenceGrant)\b", re.IGNORECASE
    )
    for path in sorted((ROOT / "csrc").glob("fg_*.*")):
        code = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        assert not words.search(code), path.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src" / "fastgate")))
def test_only_those_who_run_engines_import_the_binding(path):
    name = str(path.relative_to(ROOT / "src" / "fastgate"))
    if name not in ENGINE_USERS:
        assert "fastgate.core.engine" not in set(imports(path))


def test_a_worker_imports_compiled_modules_only():
    assert {m for m in imports(ROOT / "src" / "fastgate" / "worker.py") if m.startswith("fastgate")} == {
        "fastgate.core.engine"
    }


def conditions_in(status):
    if isinstance(status, dict):
        yield from status.get("conditions", ())
        status = [value for key, value in status.items() if key != "conditions"]
    for value in status if isinstance(status, list) else ():
        yield from conditions_in(value)


SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "www"},
    "type": "kubernetes.io/tls",
    "data": {"tls.crt": "@certificate localhost", "tls.key": "@key localhost"},
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda p: p.stem)
def test_examples_are_valid_and_served_whole(path, tmp_path):
    secrets = tmp_path / "secrets.yaml"  # which examples have none of, but name
    secrets.write_text(yaml.safe_dump_all([filled(SECRET)]))
    command = [sys.executable, "-c", "from fastgate.cli import main; main()", "validate", str(path), str(secrets)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    documents = f"{path.read_text()}\n---\n{secrets.read_text()}"
    with fastgate.Gateway(documents, ports={80: 0, 443: 0}) as gateway:
        conditions = list(conditions_in(gateway.status()))
    assert conditions
    assert [
        c for c in conditions if c["type"] in {"Accepted", "Programmed", "ResolvedRefs"} and c["status"] != "True"
    ] == []


def test_a_sealed_image_is_never_written():
    fd = snapshot.seal(b"image", "test")
    try:
        for attempt in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 1), lambda: os.ftruncate(fd, 100)):
            with pytest.raises(PermissionError):
                attempt()
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 5, prot=mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    finally:
        os.close(fd)


def test_files_stay_small():
    for folder in ("csrc", "src", "tests", "benchmarks", "examples"):
        for path in (ROOT / folder).rglob("*"):
            longest = LONGEST.get(path.suffix)
            if longest is not None and path.name not in LONGER and not path.with_suffix(".pyx").exists():
                assert len(path.read_text().splitlines()) <= longest, path
