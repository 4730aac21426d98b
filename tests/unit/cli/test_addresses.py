"""Addresses on the command line: what is none is said at once, with the option that has it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from fastgate.cli import app


@pytest.mark.parametrize(
    "arguments",
    [
        ("controller", "--listen"),
        ("controller", "--advertise"),
        ("controller", "--address"),
        ("controller", "--admin"),
        ("dataplane", "--controller"),
    ],
)
def test_what_is_no_address_is_refused_with_its_option(arguments):
    found = CliRunner(env={"NO_COLOR": "1"}).invoke(app, [*arguments, "nowhere"])
    assert found.exit_code == 2
    assert f"Invalid value for '{arguments[1]}'" in found.output
    assert "'nowhere' is not HOST:PORT" in found.output
