from __future__ import annotations

import pytest

from fastgate.status.news import news


def condition(type_, status, reason="Reason", message="what is wrong"):
    return {"type": type_, "status": status, "reason": reason, "message": message}


BAD, GOOD = condition("Accepted", "False"), condition("Accepted", "True", "Accepted", "fine")
BAD_NEWS, GOOD_NEWS = [("Reason", "what is wrong", True)], [("Accepted", "fine", False)]


def entry(*conditions, controller="us", name="gw"):
    return {"controllerName": controller, "parentRef": {"name": name}, "conditions": list(conditions)}


def policy(*conditions):
    return {"ancestors": [{"controllerName": "us", "ancestorRef": {"name": "gw"}, "conditions": list(conditions)}]}


PLACES = [
    lambda *conditions: {"conditions": list(conditions)},
    lambda *conditions: {"listeners": [{"name": "http", "conditions": list(conditions)}]},
    lambda *conditions: {"parents": [entry(*conditions)]},
    policy,
]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_bad_is_told_wherever_it_is_and_what_is_good_again(place):
    assert news(None, place(BAD), "us") == BAD_NEWS
    assert news({}, place(BAD), "us") == BAD_NEWS
    assert news(place(GOOD), place(BAD), "us") == BAD_NEWS
    assert news(place(BAD), place(BAD), "us") == []
    assert news(place(BAD), place(GOOD), "us") == GOOD_NEWS
    assert news(place(GOOD), place(GOOD), "us") == []
    assert news(None, place(GOOD), "us") == []


@pytest.mark.parametrize("type_", ["PartiallyInvalid", "Conflicted"])
def test_some_conditions_are_bad_when_they_are_true(type_):
    assert news(None, {"conditions": [condition(type_, "True")]}, "us") == BAD_NEWS
    assert news(None, {"conditions": [condition(type_, "False")]}, "us") == []


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"conditions": [condition("Foreign", "False")]},
        {"conditions": [condition("Programmed", "False", "Pending")]},
        {"parents": [entry(BAD, controller="them")]},
    ],
    ids=str,
)
def test_what_is_no_news_is_not_told(status):
    assert news(None, status, "us") == []


def test_the_same_of_several_parents_is_told_once():
    assert news(None, {"parents": [entry(BAD), entry(BAD, name="other")]}, "us") == BAD_NEWS


def test_another_reason_is_news():
    after = {"conditions": [condition("Accepted", "False", "Other", "another message")]}
    assert news({"conditions": [BAD]}, after, "us") == [("Other", "another message", True)]


def test_what_is_gone_is_no_news():
    assert news({"conditions": [BAD]}, {"conditions": []}, "us") == []
