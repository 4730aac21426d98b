"""Changes that leave cycles of garbage behind, as exceptions and tasks do, keep nothing of what they were about."""

from __future__ import annotations

import gc
import weakref

import pytest

from fastgate.collector import Collector


class Generation:
    """What a change is about, in a cycle."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_what_changes_leave_behind_goes_after_all():
    collector = Collector()
    left = []
    for _ in range(600):
        with collector.paused():
            assert not gc.isenabled()
            left.append(weakref.ref(Generation()))
        assert gc.isenabled()
    gc.collect()
    assert not [each for each in left if each() is not None]


def test_what_lives_long_is_not_looked_at_again():
    held = [Generation() for _ in range(1000)]
    with Collector().paused():
        pass
    assert gc.get_freeze_count() > 1000
    assert not [each for each in gc.get_objects() if isinstance(each, Generation)]
    del held


def test_a_change_that_fails_ends_the_pause_too():
    with pytest.raises(ZeroDivisionError), Collector().paused():
        1 / 0  # noqa: B018
    assert gc.isenabled()
