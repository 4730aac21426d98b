"""Boundaries of the architecture that no other tool watches."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src" / "fastgate").rglob("*.py"))
ENGINE_USERS = {"worker.py", "workers.py", "statistics.py", "admin/metrics.py", "plugins/runtime.py"}
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
    for path in sorted((ROOT / "csrc").glob("fg_*.[ch]")):
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


def test_files_stay_small():
    for folder in ("csrc", "src"):
        for path in (ROOT / folder).rglob("*"):
            longest = LONGEST.get(path.suffix)
            if longest is not None and not path.with_suffix(".pyx").exists():
                assert len(path.read_text().splitlines()) <= longest, path
