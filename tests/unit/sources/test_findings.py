"""What is wrong with a Filter, at its line: `fastgate validate`, `fastgate explain`, and the problems of a reload."""

import json

import pytest
from filter_types import CATALOG
from typer.testing import CliRunner

from fastgate.cli import app
from fastgate.problems import Severity
from fastgate.sources.files import Files
from fastgate.sources.findings import problems_of
from fastgate.sources.objects import Objects
from fastgate.translate import translate

MODULE = """
    import fastgate
    from pydantic import BaseModel, Field

    class Limit(BaseModel):
        key: str
        rate: int = Field(ge=1)

    class RateConfig(BaseModel):
        limits: list[Limit]

    class Rate(fastgate.Filter[RateConfig]):
        async def on_request(self, request, context):
            return None
"""
FILTER = """
# what stands before it counts
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: rate}
spec:
  type: Rate
  config:
    limits:
    - {key: a, rate: 1}
    - key: b
      rate: 0
    - {rte: 3, key: c}
"""
REST = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: fastgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: 10.0.0.1, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: rate}}]
    backendRefs:
    - group: fastgate.dev
      kind: Backend
      name: b
      filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: rate}}]
"""


def place(text, part):
    """`line:column` of a part of a text."""
    at = text.index(part)
    return f"{text.count(chr(10), 0, at) + 1}:{at - text.rfind(chr(10), 0, at)}"


@pytest.fixture
def rate(install):
    install("rates", {"Rate": "rates_module:Rate"}, rates_module=MODULE)


def run(command, file, text, *arguments):
    file.write_text(text)
    return CliRunner().invoke(app, [command, *arguments, str(file)])


def test_a_faulty_field_of_a_configuration_is_an_error_at_its_line(rate, tmp_path):
    text = f"{REST}---{FILTER}"
    result = run("validate", tmp_path / "a.yaml", text)
    assert result.exit_code == 1
    lines = [line.partition("a.yaml:")[2] for line in result.output.splitlines() if "error: Filter" in line]
    object_, field = "error: Filter/default/rate", "spec.config.limits"
    assert lines == [
        f"{place(text, '0' + text.partition('rate: 0')[2])}: {object_}: {field}[1].rate: must be greater than or equal to 1",
        f"{place(text, '{rte')}: {object_}: {field}[2].rate: is required",
        f"{place(text, '3, key: c')}: {object_}: {field}[2].rte: unknown field 'rte': did you mean 'rate'?",
    ]
    route = place(text, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute")
    assert (
        f"a.yaml:{route}: warning: HTTPRoute/default/r: ResolvedRefs is False (fastgate.dev/InvalidFilter)"
        in result.output
    )


def test_a_type_that_is_not_installed_is_told_what_is(rate, tmp_path):
    result = run("validate", tmp_path / "a.yaml", FILTER.replace("type: Rate", "type: Rte"))
    (line,) = [line for line in result.output.splitlines() if "Filter/default/rate" in line]
    assert "a.yaml:7:9: warning: Filter/default/rate: spec.type: no filter of type Rte is installed" in line
    assert "did you mean Rate?" in line
    assert "Rate (rates)" in line


def test_a_target_that_is_not_there_is_told_at_its_line(rate, tmp_path):
    target = "\n  targetRefs:\n  - {group: gateway.networking.k8s.io, kind: Gateway, name: gone}\n"
    text = f"{REST}---{FILTER.partition('  config:')[0]}  config: {{limits: []}}{target}"
    result = run("validate", tmp_path / "a.yaml", text)
    assert result.exit_code == 0
    said = "warning: Filter/default/rate: spec.targetRefs[0]: Accepted is False (TargetNotFound): Gateway default/gone does not exist"
    assert f"a.yaml:{place(text, '{group: gateway.')}: {said}" in result.output


def test_a_good_filter_is_no_problem_and_explain_names_it(rate, tmp_path):
    text = f"{REST}---{FILTER.replace('rate: 0', 'rate: 2').replace('rte: 3', 'rate: 3')}"
    result = run("validate", tmp_path / "a.yaml", text, "--strict")
    assert (result.exit_code, result.output) == (0, "4 objects: 0 errors, 0 warnings\n")
    shown = run("explain", tmp_path / "a.yaml", text, "GET", "http://x/", "-f").output
    assert "filters   default/rate (Rate, offloaded, 100 ms, deny)\n" in shown
    assert "Backend/default/b (10.0.0.1:80), through default/rate (Rate, offloaded, 100 ms, deny)\n" in shown
    answer = json.loads(run("explain", tmp_path / "a.yaml", text, "GET", "http://x/", "--json", "-f").output)[
        "answers"
    ][0]
    assert answer["filters"] == ["default/rate (Rate, offloaded, 100 ms, deny)"]


def test_only_what_the_object_alone_can_put_right_is_an_error(tmp_path):
    file = tmp_path / "a.yaml"
    keys = "{type: Keys, config: {token: {name: t, key: k}}}"
    file.write_text(
        "".join(
            f"---\napiVersion: fastgate.dev/v1alpha1\nkind: Filter\nmetadata: {{name: {name}}}\nspec: {spec}\n"
            for name, spec in (("a", "{type: None}"), ("b", "{type: Stamp, config: {times: 0}}"), ("c", keys))
        )
    )
    loaded = Objects().load(Files([file]).read()[0])
    found = problems_of(loaded, translate(loaded.store, CATALOG))
    assert [(p.object, p.place[0], p.field, p.severity) for p in found] == [
        ("Filter/default/a", 5, "spec.type", Severity.WARNING),
        ("Filter/default/b", 10, "spec.config.times", Severity.ERROR),
        ("Filter/default/c", 15, "spec.config.token", Severity.WARNING),
    ]
