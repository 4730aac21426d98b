from __future__ import annotations

from pathlib import Path

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", CASES, ids=[path.stem for path in CASES])
