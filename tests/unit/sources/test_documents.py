"""YAML text to documents."""

import pytest

from fastgate.sources.documents import YamlError, parse


def values(text):
    return [d.value for d in parse(text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1", -1),
        ("0x1f", 31),
        ("0b11", 3),
        ("010", 8),
        ("0o10", 8),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("yes", True),
        ("off", False),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1'", "1"),
        ('"yes"', "yes"),
        ("10Mi", "10Mi"),
        ("-", [None]),
        ("~x", "~x"),
        ("!!str 1", "1"),
        ("!!int '1'", 1),
        ("a: b", {"a": "b"}),
        ("{1: a, yes: b}", {"1": "a", "true": "b"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("a:", {"a": None}),
    ],
)
def test_values(text, value):
    assert values(text) == [value]


def test_documents_know_their_lines():
    documents = parse("# nothing\n---\na: 1\n---\n---\nb: 2\n", with_marks=True)
    assert [(d.value, d.line) for d in documents] == [({"a": 1}, 2), ({"b": 2}, 5)]
    assert documents[1].mark(("b",)) == (6, 4)


def test_marks_lead_to_fields_and_else_to_what_is_around_them():
    (d,) = parse("spec:\n  rules:\n  - name: a\n    paths: [x, y]\n  - name: b\n", with_marks=True)
    assert d.mark(("spec", "rules", 1, "name")) == (5, 11)
    assert d.mark(("spec", "rules", 0, "paths", 1)) == (4, 16)
    assert d.mark(("spec", "rules", 0, "missing")) == (3, 5)
    assert d.mark(()) == (1, 1)


@pytest.mark.parametrize(
    ("text", "message", "mark"),
    [
        ("a: 1\na: 2", "given twice", (2, 1)),
        ("[" * 150, "more than 100 collections", (1, 101)),
        ("a: *x", "no anchor", (1, 4)),
        ("a: &x [*x]", "no anchor", (1, 8)),
        ("a: !!python/object:os.system 1", "tag", (1, 4)),
        ("{a: b", "flow mapping", (2, 1)),
        ("a:\n\tb: 1", "cannot start any token", (2, 1)),
        ("? [1]\n: 2", "key must be a string", (1, 5)),
        ("<<: 1", "only mappings", (1, 5)),
        ("a: \ud800", "not YAML", (0, 0)),
        ("a: \x00", "unacceptable character", (0, 0)),
        ("a: " + "9" * 5000, "not YAML", (0, 0)),
    ],
)
def test_faults(text, message, mark):
    with pytest.raises(YamlError, match=message) as e:
        parse(text)
    assert mark in {e.value.mark, (0, 0)}


def test_aliases_that_explode_are_refused_before_they_do():
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]" for i in range(12)]
    with pytest.raises(YamlError, match="aliases expanded"):
        parse("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 50_000])
def test_depth_is_no_way_to_use_up_the_stack(text):
    with pytest.raises(YamlError):
        parse(text)
