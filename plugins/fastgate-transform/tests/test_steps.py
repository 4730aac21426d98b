"""What each step makes of a document, and what happens to documents that do not suit it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import TypeAdapter, ValidationError

from fastgate_transform import Step, documents
from fastgate_transform.program import Program, UnfitError

STEPS = TypeAdapter(list[Step])


def program(*steps):
    return Program(STEPS.validate_python(list(steps)))


def applied(document, *steps):
    """The steps' result for a document, both as text."""
    return documents.dumps(program(*steps).apply(documents.loads(document.encode()))).decode()


# --- documents ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1.10",
            "-0.0",
            "1e400",
            "1E-7",
            "0.12345678901234567890123",
            "123456789012345678901234567890",
            "true",
            "null",
        ),
        *('"é\\n\\""', '{"b":1,"a":[{}]}', "[]", '""'),
    ],
)
def test_what_is_not_changed_is_written_as_it_was_read(text):
    assert documents.dumps(documents.loads(text.encode())).decode() == text


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{", b"nope", b"1 2", b"NaN", b"[1,]", b"'a'", b'{"a":1,}', b"\xef\xbb\xbf1", b'"\xff"', b'"\\ud800"'),
        *(b'"\n"', b"01", b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b"9" * 5000, b'{"a" 1}', b"\x00", b"{}\x00"),
    ],
)
def test_what_is_no_document(data):
    with pytest.raises(documents.MalformedError):
        documents.loads(data)


# --- steps -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "step", "expected"),
    [
        ('{"a":1}', {"set": {"path": "/a", "value": [2]}}, '{"a":[2]}'),
        ('{"a":1}', {"set": {"path": "/b/c", "value": None}}, '{"a":1,"b":{"c":null}}'),
        ('{"a":[1,2]}', {"set": {"path": "/a/1", "value": 3}}, '{"a":[1,3]}'),
        ('{"a":[1,2]}', {"set": {"path": "/a/-", "value": 3}}, '{"a":[1,2,3]}'),
        ('[{"a":1}]', {"set": {"path": "/0/a", "value": 2}}, '[{"a":2}]'),
        ("{}", {"set": {"path": "/0/~1~0", "value": 1.5}}, '{"0":{"/~":1.5}}'),
        ("{}", {"set": {"path": "/\\u0061", "value": 1}}, '{"\\\\u0061":1}'),
        ("{}", {"set": {"path": "", "value": "x"}}, '"x"'),
        ('{"a":{"p":1},"p":2,"b":[{"p":3,"q":4}]}', {"remove": "$..p"}, '{"a":{},"b":[{"q":4}]}'),
        ('{"a":[1,2,3,4]}', {"remove": "$.a[1:3]"}, '{"a":[1,4]}'),
        ('{"a":[1,2,3,4]}', {"remove": "$.a[-1,0,0]"}, '{"a":[2,3]}'),
        ('{"a":[{"k":true,"n":1},{"n":2}]}', {"remove": "$.a[?@.k]"}, '{"a":[{"n":2}]}'),
        ('{"a":[{"n":1.10},{"n":2}]}', {"remove": "$.a[?@.n == 1.1]"}, '{"a":[{"n":2}]}'),
        ('{"p":{"p":{"p":1}},"q":0}', {"remove": "$..p"}, '{"q":0}'),
        ("[1]", {"remove": "$.a"}, "[1]"),
        ('{"a":1,"b":2,"c":3}', {"rename": {"path": "$.b", "to": "x"}}, '{"a":1,"x":2,"c":3}'),
        ('{"a":1,"b":2,"c":3}', {"rename": {"path": "$.a", "to": "c"}}, '{"c":1,"b":2}'),
        ('{"a":1,"b":2}', {"rename": {"path": "$.a", "to": "a"}}, '{"a":1,"b":2}'),
        ('[{"i":{"i":1}},{"i":2}]', {"rename": {"path": "$..i", "to": "id"}}, '[{"id":{"id":1}},{"id":2}]'),
        ("{}", {"rename": {"path": "$.a", "to": "b"}}, "{}"),
        ("[1]", {"wrap": "data"}, '{"data":[1]}'),
        ('{"data":{"a":1}}', {"patch": [{"op": "move", "from": "/data", "path": ""}]}, '{"a":1}'),
        ('{"a":1}', {"patch": [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}]}, "{}"),
        ('{"a":1.50}', {"patch": [{"op": "copy", "from": "/a", "path": "/b"}]}, '{"a":1.50,"b":1.50}'),
        ('{"a":[1]}', {"patch": [{"op": "add", "path": "/a/0", "value": {}}]}, '{"a":[{},1]}'),
        ('{"a":1}', {"patch": [{"op": "replace", "path": "/a", "value": 2}]}, '{"a":2}'),
    ],
)
def test_steps(document, step, expected):
    assert applied(document, step) == expected


def test_steps_follow_one_another():
    steps = [{"wrap": "data"}, {"set": {"path": "/meta/n", "value": 1}}, {"rename": {"path": "$.data", "to": "items"}}]
    assert applied("[1]", *steps) == '{"items":[1],"meta":{"n":1}}'


@pytest.mark.parametrize(
    ("document", "step"),
    [
        ('{"a":1}', {"set": {"path": "/a/b", "value": 1}}),
        ('{"a":[]}', {"set": {"path": "/a/0", "value": 1}}),
        ('{"a":[1]}', {"set": {"path": "/a/b", "value": 1}}),
        ('{"a":[1]}', {"set": {"path": "/a/-/b", "value": 1}}),
        ('{"a":[1]}', {"set": {"path": "/a/²", "value": 1}}),
        ("3", {"set": {"path": "/a", "value": 1}}),
        ("[1]", {"rename": {"path": "$[0]", "to": "a"}}),
        ("{}", {"patch": [{"op": "remove", "path": "/a"}]}),
        ('{"a":2}', {"patch": [{"op": "test", "path": "/a", "value": 1}]}),
        ('"{}"', {"patch": [{"op": "add", "path": "/a", "value": 1}]}),
        ("[" * 150 + "]" * 150, {"remove": "$..a"}),
    ],
)
def test_documents_that_do_not_suit_a_step(document, step):
    with pytest.raises(UnfitError):
        applied(document, step)


def test_a_document_that_is_a_string_is_never_parsed_again():
    text = json.dumps('{"a":1}')
    assert applied(text, {"remove": "$.a"}) == text


def test_a_query_that_finds_too_much_is_given_up():
    with pytest.raises(UnfitError, match="more than 100000"):
        applied("[" + "1," * 100_000 + "1]", {"remove": "$[*]"})


def test_documents_share_nothing():
    """What a step adds is changed by later steps of the same document only."""
    steps = program(
        {"patch": [{"op": "add", "path": "/l", "value": []}, {"op": "add", "path": "/l/-", "value": 1}]},
        {"set": {"path": "/m", "value": {}}},
        {"set": {"path": "/m/n", "value": []}},
        {"set": {"path": "/m/n/-", "value": 2}},
    )
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: documents.dumps(steps.apply({})), range(50)))
    assert set(results) == {b'{"l":[1],"m":{"n":[2]}}'}


# --- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({}, "exactly one of set, remove, rename, wrap, patch"),
        ({"wrap": "a", "remove": "$.a"}, "exactly one"),
        ({"wrap": None}, "exactly one"),
        ({"remove": "a"}, "not a JSONPath"),
        ({"remove": "$.a["}, "not a JSONPath"),
        ({"remove": "$"}, "whole document"),
        ({"remove": "$.a | $.b"}, "not a JSONPath"),
        ({"remove": "$..a..b"}, "several"),
        ({"remove": "$..a[?@..b]"}, "several"),
        ({"remove": "$.a[?match(@.b, 'x')]"}, "match"),
        ({"remove": "$.a[?search(@.b, 'x')]"}, "search"),
        ({"set": {"path": "a", "value": 1}}, "not a JSON Pointer"),
        ({"set": {"path": "/a"}}, "value"),
        ({"patch": []}, "at least 1"),
        ({"patch": [{"op": "addne", "path": "/a", "value": 1}]}, "addne"),
        ({"patch": [{"op": "move", "path": "/a"}]}, "from"),
        ({"remove": "$.a", "when": 1}, "when"),
    ],
)
def test_steps_that_are_refused(step, message):
    with pytest.raises(ValidationError, match=message):
        program(step)


@pytest.mark.parametrize("query", ["$['..']..a", '$[".."].b..c', "$..a[?@.b == '..']"])
def test_dots_in_names_do_not_count(query):
    program({"remove": query})
