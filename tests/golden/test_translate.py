"""Golden cases of the translation: a file holds resources and, after `# expected`, what they mean and their statuses.

`pytest tests/golden --update-golden` rewrites the second part; read the difference before it is committed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml
from certificates import filled
from filter_types import CATALOG
from golden_render import render
from resources import resources_of, store_of

from fastgate.remote import wire
from fastgate.remote.difference import EMPTY, applied, difference
from fastgate.remote.share import Share
from fastgate.store import Store
from fastgate.translate import Translator, translate

MARK = "---\n# expected\n"
BASE = list(yaml.safe_load_all((Path(__file__).parent / "base.yaml").read_text()))


@pytest.fixture(autouse=True)
def matcher_of_patterns(case):
    if "RegularExpression" in case.read_text():
        pytest.importorskip("fastgate.core.regex", exc_type=ImportError)


def in_order(document):
    """Return a document as text: equality of dicts would overlook their order, which matters here."""
    return yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)


def documents_of(text):
    return [filled(document) for document in yaml.safe_load_all(text) if document is not None]


def test_a_case_means_what_it_says_it_means(case, request):
    text = case.read_text()
    resources, _, expected = text.partition(MARK)
    found = render(translate(store_of(BASE + documents_of(resources)), CATALOG))
    if request.config.getoption("--update-golden"):
        case.write_text(resources + MARK + in_order(found))
        return
    assert in_order(yaml.safe_load(expected)) == in_order(found)


def test_the_order_of_objects_does_not_matter(case):
    documents = BASE + documents_of(case.read_text().partition(MARK)[0])
    first = translate(store_of(documents), CATALOG)
    for seed in range(3):
        shuffled = list(documents)
        random.Random(seed).shuffle(shuffled)
        assert translate(store_of(shuffled), CATALOG) == first


def test_a_translator_that_saw_something_else_before_gives_the_same(case):
    documents = BASE + documents_of(case.read_text().partition(MARK)[0])
    expected = translate(store_of(documents), CATALOG)
    translator = Translator(CATALOG)
    for missing in range(len(documents)):
        translator.translate(store_of(documents[:missing] + documents[missing + 1 :]))
    assert translator.translate(store_of(documents)) == expected


def test_a_translator_that_is_told_what_changed_gives_what_a_new_one_gives(case):
    resources = resources_of(BASE + documents_of(case.read_text().partition(MARK)[0]))
    store = Store(resources)
    translator = Translator(CATALOG)
    last = translator.translate(store)
    keys = list(resources)

    def amended(changes):
        nonlocal store, last
        store, before = store.amended(changes), last.statuses.routes
        last = translator.translate(store)
        assert last == translate(store, CATALOG)
        told, after = last.statuses.changes, last.statuses.routes
        if told is not None and told.before is before and after is not before:
            assert all(before.get(key) == after.get(key) for key in {*before, *after} - told.keys)

    for first, second in zip(keys, [*keys[1:], keys[0]], strict=True):
        amended({first: None})
        amended({first: resources[first], second: None})
        amended({second: resources[second]})


def test_what_a_case_means_reaches_a_data_plane_unchanged(case):
    documents = BASE + documents_of(case.read_text().partition(MARK)[0])
    translation = translate(store_of(documents), CATALOG)
    share = Share(1, translation.ir, translation.endpoints)
    assert applied(EMPTY, wire.from_controller(wire.encode(difference(EMPTY, share)))) == share
