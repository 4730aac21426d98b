"""What is made of the official suite's output."""

from __future__ import annotations

from kubelab.suite import Outcome

PASSED = """\
=== RUN   TestConformance/HTTPRouteMatching
    --- PASS: TestConformance/HTTPRouteMatching (0.12s)
        --- PASS: TestConformance/HTTPRouteMatching/0_request (0.00s)
    --- SKIP: TestConformance/MeshPorts (0.00s)
--- PASS: TestConformance (20.50s)
"""
FAILED = PASSED.replace("PASS: TestConformance (", "FAIL: TestConformance (")


def outcome(text):
    read = Outcome()
    for line in text.splitlines(keepends=True):
        read.read(line)
    return read


def test_verdicts_are_of_tests_and_not_of_their_parts():
    read = outcome(PASSED)
    assert (read.passed, read.failed, read.skipped) == (["HTTPRouteMatching"], [], ["MeshPorts"])
    assert read.succeeded
    assert str(read) == "1 passed, 0 failed, 1 skipped, 20 s"


def test_a_run_that_failed_outside_of_tests_failed():
    read = outcome(FAILED)
    assert not read.succeeded
    assert "the suite's own set-up or end failed" in str(read)


def test_a_run_of_nothing_or_without_an_end_is_no_success():
    assert not outcome("--- PASS: TestConformance (2.00s)\n").succeeded
    assert not outcome(PASSED.rpartition("--- PASS")[0]).succeeded


def test_failures_are_named():
    text = FAILED + "    --- FAIL: TestConformance/TLSRouteSimple (60.01s)\n"
    assert "  failed: TLSRouteSimple" in str(outcome(text))
