"""How tests are spread over worker processes (`pytest -n`), and the option that rewrites golden cases."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

_ONE_CLUSTER = "tests/conformance/"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="rewrite what golden cases expect")


class _Scheduling(LoadScopeScheduling):
    """Any worker runs any test, but one runs all that share a cluster, and begins with them: they wait more than they compute."""

    def _split_scope(self, nodeid: str) -> str:
        return _ONE_CLUSTER if nodeid.startswith(_ONE_CLUSTER) else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return _Scheduling(config, log) if config.getvalue("dist") == "load" else None
