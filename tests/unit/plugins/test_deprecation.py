"""Names that go away."""

import sys

import pytest

import fastgate
from fastgate.plugins import deprecation
from fastgate.plugins.deprecation import Deprecated

SENTENCE = "fastgate.OldHeaders is deprecated and will be removed in 9.2: use fastgate.Headers"


@pytest.fixture(autouse=True)
def old(monkeypatch):
    monkeypatch.setitem(deprecation.DEPRECATED, "OldHeaders", Deprecated("Headers", "9.2"))
    monkeypatch.setattr(deprecation, "uses", {})


def test_a_deprecated_name_is_what_takes_its_place_and_says_so_where_it_is_used():
    with pytest.warns(DeprecationWarning, match=SENTENCE) as warned:
        assert fastgate.OldHeaders is fastgate.Headers
    (one,) = warned
    assert (str(one.message), one.filename) == (SENTENCE, __file__)
    assert "OldHeaders" not in dir(fastgate)


def test_uses_are_counted_and_logged_once_for_a_distribution(monkeypatch, caplog):
    monkeypatch.setattr(
        deprecation.metadata, "packages_distributions", lambda: {"mod_old": ["Dist_Old"], "mod_other": ["dist-other"]}
    )
    for module in ("mod_old.a", "mod_old.b", "mod_other"):
        with pytest.warns(DeprecationWarning, match=SENTENCE):
            exec("from fastgate import OldHeaders", {"__name__": module})
    assert deprecation.uses == {("dist-old", "OldHeaders"): 2, ("dist-other", "OldHeaders"): 1}
    assert [record.getMessage() for record in caplog.records] == [f"dist-old: {SENTENCE}", f"dist-other: {SENTENCE}"]


def test_other_names_are_no_names():
    with pytest.raises(AttributeError, match="module 'fastgate' has no attribute 'Older'"):
        _ = fastgate.Older
    assert "OldHeaders" not in vars(sys.modules["fastgate"])


def test_what_takes_a_place_is_public():
    assert all(found.replacement in fastgate.__all__ for found in deprecation.DEPRECATED.values())
