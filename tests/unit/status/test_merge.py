from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.status.merge import has_ours, merged, without

OURS, THEIRS = "fastgate.dev/gateway-controller", "example.com/other"
THEN, NOW = "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"


def condition(type_="Accepted", status="True", generation=1, **more):
    return {"type": type_, "status": status, "reason": "R", "message": "m", "observedGeneration": generation, **more}


def stored(*conditions):
    return [{**each, "lastTransitionTime": THEN} for each in conditions]


def entry(name, controller=OURS, conditions=()):
    return {"parentRef": {"name": name}, "controllerName": controller, "conditions": list(conditions)}


def merge(before, ours, generation=9):
    return merged(before, ours, OURS, NOW, generation)


def test_what_is_stored_is_not_written_again():
    before = {"parents": [entry("gw", conditions=stored(condition()))]}
    assert merge(before, {"parents": [entry("gw", conditions=[condition()])]}) is None


def test_a_transition_is_a_change_of_status_and_nothing_else():
    before = {"conditions": stored(condition(), condition("Programmed", "False"))}
    ours = {"conditions": [condition(reason="New", generation=2), condition("Programmed", "True")]}
    assert [each["lastTransitionTime"] for each in merge(before, ours)["conditions"]] == [THEN, NOW]


def test_a_condition_of_a_newer_object_stands():
    before = {"conditions": stored(condition(status="False", generation=5), condition("Programmed", generation=3))}
    after = merge(before, {"conditions": [condition(generation=4), condition("Programmed", "False", generation=4)]})
    assert [(each["status"], each["observedGeneration"]) for each in after["conditions"]] == [
        ("False", 5),
        ("False", 4),
    ]


def test_a_condition_of_a_generation_that_the_object_never_had_is_of_another_object():
    before = {"conditions": stored(condition(status="False", generation=5))}
    (after,) = merge(before, {"conditions": [condition(generation=1)]}, generation=1)["conditions"]
    assert (after["status"], after["observedGeneration"]) == ("True", 1)


def test_a_condition_of_ours_that_holds_no_more_is_gone_and_others_stay():
    before = {"conditions": stored(condition(), condition("PartiallyInvalid"), condition("example.com/Checked"))}
    after = merge(before, {"conditions": [condition()]})
    assert [each["type"] for each in after["conditions"]] == ["Accepted", "example.com/Checked"]


def test_entries_stay_in_their_places_and_new_ones_follow():
    before = {"parents": [entry("a"), entry("b", THEIRS), entry("c")]}
    after = merge(before, {"parents": [entry("d"), entry("c", conditions=[condition()])]})
    assert [(each["parentRef"]["name"], each["controllerName"]) for each in after["parents"]] == [
        ("b", THEIRS), ("c", OURS), ("d", OURS),
    ]  # fmt: skip


def test_foreign_entries_are_never_pushed_out():
    before = {"parents": [entry(f"their{n}", THEIRS) for n in range(31)]}
    after = merge(before, {"parents": [entry("a"), entry("b")]})
    assert [each["parentRef"]["name"] for each in after["parents"]] == [*(f"their{n}" for n in range(31)), "a"]


def test_listeners_are_told_apart_by_name():
    before = {"listeners": [{"name": "a", "attachedRoutes": 1, "conditions": stored(condition())}, {"name": "gone"}]}
    ours = [{"name": name, "attachedRoutes": 2, "conditions": [condition()]} for name in ("new", "a")]
    after = merge(before, {"listeners": ours})["listeners"]
    assert [(each["name"], each["conditions"][0]["lastTransitionTime"]) for each in after] == [
        ("new", NOW),
        ("a", THEN),
    ]


def test_what_nobody_has_is_as_good_as_nothing():
    assert merge({}, {"parents": [], "attachedListenerSets": 0}) is None
    assert merge(None, {"parents": []}) is None


def test_ours_can_be_taken_out():
    before = {"parents": [entry("a"), entry("b", THEIRS)], "x": 1}
    assert has_ours(before, OURS)
    after = without(before, OURS)
    assert after == {"parents": [entry("b", THEIRS)], "x": 1}
    assert not has_ours(after, OURS)
    assert without(after, OURS) is None
    assert without(None, OURS) is None


@pytest.mark.parametrize("field", ["parents", "ancestors"])
@given(data=st.data())
def test_what_is_not_ours_is_as_it_was_and_where_it_was(field, data):
    """The oracle: take out what is ours on both sides; the rest is byte-equal and in order, and ours is what we want."""
    ref = {"parents": "parentRef", "ancestors": "ancestorRef"}[field]
    names = st.sampled_from("abcdef")
    conditions = st.lists(st.sampled_from([condition(), condition("Programmed"), condition("x.io/Theirs")]), max_size=2)

    def entries(controllers):
        one = st.fixed_dictionaries(
            {ref: st.fixed_dictionaries({"name": names}), "controllerName": controllers, "conditions": conditions}
        )
        return st.lists(one, max_size=8, unique_by=lambda each: (each[ref]["name"], each["controllerName"]))

    before = {field: data.draw(entries(st.sampled_from([OURS, THEIRS]))), "foreign": {"kept": [1]}}
    wanted = data.draw(entries(st.just(OURS)))
    original = copy.deepcopy(before)
    after = merged(before, {field: wanted}, OURS, NOW, 1)
    assert before == original
    after = before if after is None else after

    def others(status):
        return json.dumps([each for each in status[field] if each["controllerName"] != OURS])

    assert others(after) == others(before)
    assert after["foreign"] == {"kept": [1]}
    ours = {each[ref]["name"]: each for each in after[field] if each["controllerName"] == OURS}
    assert ours.keys() == {each[ref]["name"] for each in wanted}
    for each in wanted:
        types = {each["type"] for each in each["conditions"]}
        assert types <= {found["type"] for found in ours[each[ref]["name"]]["conditions"]}
    assert merged(after, {field: wanted}, OURS, "2027-01-01T00:00:00Z", 1) is None
