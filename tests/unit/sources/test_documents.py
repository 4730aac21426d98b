"""YAML text to documents."""

import re
import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
        ("1e3", 1000),
        ("80.0", 80),
        ("09", 9),
        ("1e400", "1e400"),
        ("9" * 5000, "9" * 5000),
        ("0x" + "f" * 100_000, "0x" + "f" * 100_000),
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
        ("é: 1\na: é\x00", "character U\\+0000 is not allowed", (2, 5)),
        ("a:\n- .inf", "not a number that JSON has", (2, 3)),
        ("a: !!int b", "not what its tag", (1, 4)),
        ("? " + "x" * 9000 + "\n: 1\n? " + "x" * 9000 + "\n: 1", r"key 'x{77}\.\.\.' is", (3, 3)),
    ],
)
def test_faults(text, message, mark):
    with pytest.raises(YamlError, match=message) as e:
        parse(text)
    assert e.value.mark == mark


def test_aliases_that_explode_are_refused_before_they_do():
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]" for i in range(12)]
    with pytest.raises(YamlError, match="aliases expanded"):
        parse("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 50_000])
def test_depth_is_no_way_to_use_up_the_stack(text):
    with pytest.raises(YamlError):
        parse(text)


def refused(text):
    """What is said against a text, or None."""
    try:
        parse(text, with_marks=True)
    except YamlError as e:
        return e
    return None


# PyYAML writes these as they are; the API server's clients read them as booleans (YAML 1.1) and numbers.
_NOT_TEXT = re.compile(r"[yYnN]|[-+]?(\.[0-9_]+|[0-9][0-9_]*(\.[0-9_]*)?)[eE][-+]?[0-9]+|[-+]?0o[0-7_]+")
_TEXT = st.text().filter(lambda text: not _NOT_TEXT.fullmatch(text))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXT,
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=20
)


@given(_VALUES, st.booleans())
@settings(max_examples=50)
def test_what_is_written_is_what_is_read(value, flow):
    text = yaml.safe_dump(value, default_flow_style=flow)
    assert values(text) == ([] if value is None else [value])


@given(st.text(st.sampled_from("ab01 \n\t:-?[]{}&*!|>'\"#%,.<~\\\r\ufeffé\x00\ud800"), max_size=60))
@settings(max_examples=1000)
@example("? [a]: b")
@example("- - !!int ''")
def test_random_text_is_read_or_refused_with_a_place(text):
    refusal = refused(text)
    assert len(str(refusal)) < 400
    assert refusal is None or refusal.mark[0] <= text.count("\n") + text.count("\r") + 2


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "x" * (10 << 20),
        "a: '" + "x" * (10 << 20),
        "a: " + "9" * (10 << 20),
        "a: " + "1_" * (5 << 20),
        "a: 0x" + "f" * (10 << 20),
        "a: 1." + "9" * (10 << 20),
        "&" + "a" * (1 << 20) + " b",
        "a: !" + "t" * (1 << 20) + " b",
        "- &a [" + "x," * 100_000 + "]\n" + "- *a\n" * 100_000,
        "a0: &a0 {k0: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 3000)),
    ],
    ids=range(10),
)
def test_large_input_takes_bounded_time(text):
    started = time.process_time()
    assert len(str(refused(text))) < 400
    assert time.process_time() - started < 20
