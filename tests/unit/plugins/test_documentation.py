"""The code of docs/filters.md: it runs, and mypy --strict has nothing against it."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgate
from fastgate.plugins.filter import Filter, Phase
from fastgate.plugins.headers import OF_REQUEST
from fastgate.plugins.manager import SPECIFIED

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate" / "mypy"
TEXT = (ROOT / "docs" / "filters.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_code_runs(block):
    exec(compile(block, "docs/filters.md", "exec"), {"__name__": "documentation"})


async def test_tests_in_it_pass(fastgate_gateway):
    (block,) = (block for block in BLOCKS if "fastgate_gateway" in block)
    namespace: dict = {"__name__": __name__}
    exec(compile(block, "docs/filters.md", "exec"), namespace)
    await asyncio.to_thread(namespace["test_the_backend_is_greeted"], fastgate_gateway)
    await namespace["test_some_are_refused"](fastgate_gateway)


def test_code_is_typed(tmp_path):
    assert len(BLOCKS) > 5
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"block{number}.py").write_text(block)
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", CACHE, "--config-file", os.devnull, "."]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_phase_hook_and_reserved_field_is_named():
    words = [*(f"on_{phase.value}" for phase in Phase), *SPECIFIED]
    assert [word for word in words if f"`{word}(" not in TEXT] == []
    for name in ("connection", "content-length", "te", "transfer-encoding", "host"):
        assert f"`{name}`" in TEXT
        with pytest.raises(ValueError, match="cannot be edited"):
            OF_REQUEST.admit(name)
    assert all(hasattr(Filter, f"on_{phase.value}") for phase in Phase)


def test_everything_public_is_there():
    for name in fastgate.__all__:
        assert getattr(fastgate, name) is not None
