"""`fastgate status`: what it makes of the statuses of Filters."""

import json

import pytest
from filter_types import CATALOG
from resources import store_of
from typer.testing import CliRunner

from fastgate.cli import app
from fastgate.cli import status as command
from fastgate.translate import translate
from fastgate.translate.conditions import all_json

TARGETS = [
    {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "gone", "sectionName": "only"},
    {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gone"},
]


@pytest.fixture
def shown(monkeypatch):
    """Return what is printed about Filters of these specs, by line and in columns, and the exit code."""

    def show(**specs):
        documents = [
            {"kind": "Filter", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
            for name, spec in specs.items()
        ]
        objects = all_json(translate(store_of(documents), CATALOG).statuses)
        document = {
            "generation": 1, "workers": [1], "sockets": [], "endpoints": [], "objects": objects, "problems": [], "refused": []
        }  # fmt: skip
        monkeypatch.setattr(command, "_fetch", lambda _: json.loads(json.dumps(document)))
        done = CliRunner().invoke(app, ["status"])
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith("Filter/")]
        return done.exit_code, lines

    return show


def test_a_good_filter_has_a_line(shown):
    assert shown(a={"type": "Stamp"}) == (0, [["Filter/default/a", "Accepted=True", "Accepted"]])


def test_a_faulty_filter_says_why(shown):
    code, lines = shown(a={"type": "Stamp", "config": {"times": 0}})
    message = "spec.config.times: must be greater than or equal to 1"
    assert (code, lines) == (
        1, [["Filter/default/a", "Accepted=False", "InvalidConfiguration", *message.split()]]
    )  # fmt: skip


def test_a_refused_configuration_is_told(monkeypatch):
    document = {
        "generation": 7, "workers": [], "sockets": [], "endpoints": [], "objects": {}, "problems": [], "refused": ["a: b"]
    }  # fmt: skip
    monkeypatch.setattr(command, "_fetch", lambda _: document)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert done.stderr.endswith("what was given last is refused, and generation 7 still served:\na: b\n")


def test_every_target_has_a_line(shown):
    code, lines = shown(a={"type": "Stamp", "targetRefs": TARGETS})
    assert code == 1
    assert [" ".join(line) for line in lines[1:]] == [
        "Filter/default/a -> HTTPRoute/default/gone/only Accepted=False TargetNotFound HTTPRoute default/gone does not exist",
        "Filter/default/a -> Gateway/default/gone Accepted=False TargetNotFound Gateway default/gone does not exist",
    ]


@pytest.mark.parametrize(("state", "code"), [("valid", 0), ("expires soon", 0), ("expired", 1), ("not valid yet", 1)])
def test_certificates_that_are_not_valid_are_told(monkeypatch, state, code):
    certificate = {
        "listener": "Gateway/ns/g/l", "names": ["a", "b"], "key_type": "RSA 2048", "not_after": "2026-01-01", "state": state
    }  # fmt: skip
    document = {
        "generation": 1, "workers": [], "sockets": [], "endpoints": [], "objects": {}, "problems": [], "refused": [],
        "certificates": [certificate],
    }  # fmt: skip
    monkeypatch.setattr(command, "_fetch", lambda _: document)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == code
    assert f"Gateway/ns/g/l  a, b         RSA 2048  2026-01-01  {state}" in done.stdout.splitlines()
