"""Every harness, built by gcc with AddressSanitizer and UBSan, over its corpus; and the tables about the harnesses."""

import ast
import re

import harnesses
import planted
import pytest
import sanitized

HARNESSES = harnesses.HARNESSES.values()
NAMES = list(harnesses.HARNESSES)


@pytest.mark.timeout(900)  # a cold build waits for the compilers
@pytest.mark.parametrize("harness", HARNESSES, ids=NAMES)
def test_the_corpus_finds_nothing(harness):
    files = sorted(harness.corpus.iterdir())
    assert harness.replay(sanitized.GCC, files) == f"{len(files)} inputs\n"


@pytest.mark.parametrize("harness", HARNESSES, ids=NAMES)
def test_corpora_stay_small(harness):
    sizes = [path.stat().st_size for path in harness.corpus.iterdir()]
    assert 0 < len(sizes) <= 200
    assert sum(sizes) <= 500 * 1024


@pytest.mark.parametrize("bug", planted.BUGS, ids=lambda bug: f"{bug.harness}: {bug.name}")
def test_planted_bugs_fit_the_sources(bug):
    text = (sanitized.ROOT / bug.edit.file).read_text()
    assert bug.edit.apply(text) != text


def test_every_harness_has_five_planted_bugs_or_more():
    for name in NAMES:
        assert sum(bug.harness == name for bug in planted.BUGS) >= 5


def test_the_dictionary_has_every_name_that_the_parsers_know():
    lines = harnesses.HTTP1_WORDS.read_text().splitlines()
    words = [ast.literal_eval(f"b{line}") for line in lines if line and not line.startswith("#")]
    assert max(map(len, words)) <= 64  # libFuzzer drops longer ones without a word
    headers = (sanitized.ROOT / "csrc/fg_headers.h").read_bytes()
    known = re.findall(rb'X\(\w+, "([a-z0-9-]+)"', headers)
    fields = {word.partition(b":")[0].strip().lower() for word in words if word.startswith(b"\r\n")}
    assert known
    assert set(known) <= fields
