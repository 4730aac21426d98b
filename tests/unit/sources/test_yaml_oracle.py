"""Scalars and keys of YAML beside the clients' own library: what `kubectl apply` sends for a text."""

import crd_oracle
import pytest

from fastgate.sources.documents import YamlError, parse

pytestmark = pytest.mark.timeout(1200)  # compiling the oracle, once for each version of it

PLAIN = """
1 -1 +1 0x1f -0x1f 0X1F 0b11 0B11 010 0o10 0O10 09 08.5 00 0 -0 +0 1_000 1_ _1 1__0 0x_1 0b2 1.5 1. .5 -.5 +.5 1e3 1E3 1e+3
1e-3 1.5e3 e3 . - + .e3 inf nan yes Yes YES yEs no No NO on On ON oN off Off OFF y Y n N true True TRUE tRue false False FALSE ~
null Null NULL nUll 2024-01-01 2024-1-1 2024-01-01T10:00:00Z 1:30 190:20:30 1:30.5 10Mi 0777 0888 1e400 -1e400 0.1
9223372036854775807 9223372036854775808 18446744073709551615 -9223372036854775808 99999999999999999999999 0xffffffffffffffff
0xfffffffffffffffff 1e20 1e21 1e22 123456789.0 1.0 80.0 1e1000 = 0x 0b 0o 0b101_1 685.230_15e+03 0.0 -0.0 1_000.5 1e 1e+
0x1p3 0o8 +0x1 +010 -010 -0b11 --1 1.2.3 0. .inf -.inf .nan
""".split()  # noqa: SIM905 - a list would be four times as long
TEXTS = [
    "'1'", '"yes"', "!!str 1", "!!int '1'", "!!float 1", "!!bool 'yes'", "!!null ''", "!!int abc", "! 1", "{1: a}", "{yes: a}",
    "{1.5: a}", "{~: a}", "{[1]: a}", "{a: 1, a: 2}", "{0x10: a}", "{1_0: a}", "{2024-01-01: a}", "{on: a, true: b}", "{1e3: a}",
    "{80.0: a}", "{a: 1, 'a': 2}", "a: &x {b: 1}\nc: *x", "a: &x {b: 1}\nd: {<<: *x}", "{<<: {a: 1}}", "{<<: 1}", "? a\n: b", "? a",
    "a: |\n x\n", "a: >-\n x\n y\n", "a: b: c", "a:\n\tb: 1", "\ta: b", "a: 'x\n  y'", 'a: "\\x41\\u00e9"', 'a: "\\q"', "a: on # c",
    "a: x#y", "[a, b,]", "{a, b}", "{a: }", "*a", "a: b\r\nc: d\r\n", "\ufeffa: b", "a: \x07", "a: \x00", "a: é😀", "--- a",
    "a: 'it''s'", "? |\n x\n: 1", "- - - a", "a: 1 2", "{a: [}", "a: [1, 2", "%YAML 1.1\n---\na: on", "a: -\n", "a: @b", "a: `b",
]  # fmt: skip
# Where fastgate takes less than the clients: tags of its readers' own making, and two keys that mean the same.
STRICTER = ["!!binary aGk=", "!foo a", "!!timestamp 2024-01-01", "{1: a, '1': b}"]


def read(text):
    """The text's value, or (); what JSON tells apart is told apart."""
    try:
        found = parse(text)
    except YamlError:
        return ()
    return repr(found[0].value if found else None)


def test_texts_mean_what_they_mean_to_the_clients():
    texts = [*PLAIN, *TEXTS, *(f"a: {text}" for text in PLAIN), *(f"- {text}" for text in PLAIN)]
    answers = crd_oracle.json_of(texts)
    theirs = [() if "error" in answer else repr(answer["json"]) for answer in answers]
    ours = [read(text) for text in texts]
    assert [x for x in zip(texts, theirs, ours, strict=True) if x[1] != x[2]] == []


def test_what_is_refused_on_purpose():
    assert all("json" in answer for answer in crd_oracle.json_of(STRICTER))
    assert [read(text) for text in STRICTER] == [()] * len(STRICTER)
