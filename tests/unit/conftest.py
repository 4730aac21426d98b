"""Distributions that tests install."""

import sys

import pytest
from distributions import distribution


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put distributions on the path, and take them and their modules away again."""
    modules = []

    def add(name, points, group="fastgate.filters", **texts):
        distribution(tmp_path / name, name, points, group, **texts)
        modules.extend(texts)
        monkeypatch.syspath_prepend(str(tmp_path / name))

    yield add
    for module in modules:
        sys.modules.pop(module, None)
