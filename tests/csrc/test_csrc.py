"""Runs the C tests: test_fg_X.c includes csrc/fg_X.c, to reach what is private in it, and is linked with the other files.

Under AddressSanitizer and UndefinedBehaviorSanitizer; leaks are failures. A test that includes fg_host.h gets the parsers.
"""

import native
import pytest

SOURCES = sorted(native.TESTS.glob("test_fg_*.c"))


def run(source, flags):
    subject = source.stem.removeprefix("test_") + ".c"
    others = [s for s in native.ENGINE if s.name != subject]
    embed = "fg_host.h" in source.read_text()
    native.run(native.program([source, *others], flags, embed=embed))


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_c(source):
    run(source, native.ADDRESS)


@pytest.mark.parametrize("name", ["log", "ring", "signer"])
def test_under_two_threads(name):
    run(native.TESTS / f"test_fg_{name}.c", native.THREAD)


def test_a_failed_check_fails_the_program(tmp_path):
    """The harness itself can fail: a wrong value, a byte behind the page, a leak, a shift that C does not define."""
    for n, body in enumerate(
        (
            "CHECK_EQ(1 + 1, 3);",
            "fg_guarded()[FG_GUARDED_SIZE] = 1;",
            "*(void *volatile *)fg_guarded() = malloc(8); *(void *volatile *)(fg_guarded()) = NULL;",
            "volatile int n = 40; volatile int x = 1 << n; (void)x;",
        )
    ):
        source = tmp_path / f"wrong{n}.c"
        source.write_text(f'#include "fg_test.h"\nint main(void) {{ {body} return 0; }}\n')
        with pytest.raises(AssertionError, match="ended with"):
            native.run(native.program([source], native.ADDRESS))
