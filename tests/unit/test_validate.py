"""`fastgate validate`: what it prints of many problems, and what finding their places costs."""

import json

import pytest
from typer.testing import CliRunner

from fastgate.cli import app
from fastgate.output import MOST
from fastgate.sources import files

REFUSED = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {n}}}
spec: {{rules: [{{matches: [{{path: {{type: Nope}}}}]}}], hostnames: [UPPER]}}
"""


@pytest.fixture
def marked(monkeypatch):
    """The texts that were read with marks."""
    texts = []

    def parse(text, *, with_marks=False):
        if with_marks:
            texts.append(text)
        return original(text, with_marks=with_marks)

    original = files.parse
    monkeypatch.setattr(files, "parse", parse)
    files._marked.cache_clear()
    return texts


def write(path, count):
    path.write_text("".join(f"---\n{REFUSED.format(n=f'{path.stem}{n}')}" for n in range(count)))


def test_places_are_found_for_what_is_printed(tmp_path, marked):
    write(tmp_path / "a.yaml", MOST)
    result = CliRunner().invoke(app, ["validate", str(tmp_path)])
    assert result.exit_code == 1
    assert f"... and {MOST} more" in result.output
    assert f"{2 * MOST} errors" in result.output
    assert len(marked) == MOST // 2  # two problems a document


def test_every_problem_of_json_has_its_place_for_one_reading_of_its_document(tmp_path, marked):
    write(tmp_path / "b.yaml", 3)
    write(tmp_path / "a.yaml", MOST)
    result = CliRunner().invoke(app, ["validate", "--json", str(tmp_path)])
    problems = [json.loads(line) for line in result.stdout.splitlines()]
    places = [(p["file"], p["line"], p["column"]) for p in problems]
    assert places == sorted(places)
    columns = [REFUSED.format(n="").splitlines()[-1].index(value) + 1 for value in ("Nope", "UPPER")]
    assert places[-2:] == [(str(tmp_path / "b.yaml"), 15, column) for column in columns]
    assert len(marked) == MOST + 3


def test_a_file_that_is_read_as_a_whole_is_read_once_more(tmp_path, marked):
    (tmp_path / "a.yaml").write_text("".join(f"---\n{REFUSED.format(n=f'r{n}')}...\n" for n in range(20)))
    result = CliRunner().invoke(app, ["validate", "--json", str(tmp_path)])
    assert len(result.stdout.splitlines()) == 40
    assert len(marked) == 1


def test_kinds_of_layer_4_have_their_places(tmp_path):
    (tmp_path / "a.yaml").write_text("""apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: a}
spec:
  hostnames: [a.example.com, 192.0.2.1]
  rules: [{backendRefs: [{name: b, port: 1}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: b}
spec:
  targetRefs: [{group: "", kind: Service, name: b}]
  validation:
    hostname: "*.example.com"
    wellKnownCaCertificates: System
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: c}
spec: {rules: [{backendRefs: [{name: b, port: 70000}]}, {backendRefs: [{name: b, port: 1}]}]}
---
apiVersion: gateway.networking.k8s.io/v1beta2
kind: UDPRoute
metadata: {name: d}
spec: {}
""")
    result = CliRunner().invoke(app, ["validate", "--json", str(tmp_path)])
    problems = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(p["line"], p["object"], p["field"]) for p in problems] == [
        (5, "TLSRoute/default/a", "spec.hostnames"),
        (14, "BackendTLSPolicy/default/b", "spec.validation.hostname"),
        (15, "BackendTLSPolicy/default/b", "spec.validation.wellKnownCaCertificates"),
        (20, "TCPRoute/default/c", "spec.rules"),
        (22, "UDPRoute/default/d", "apiVersion"),
        (25, "UDPRoute/default/d", "spec.rules"),
    ]
    assert problems[2]["message"].endswith("did you mean 'wellKnownCACertificates'?")


def test_listeners_and_routes_that_are_not_served_are_warned_about(tmp_path):
    (tmp_path / "a.yaml").write_text("""apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: fastgate}
spec: {controllerName: fastgate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: fastgate
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - {name: tcp, port: 9000, protocol: TCP}
  - {name: invalid, port: 9001, protocol: example.com/INVALID}
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: none}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: c}
spec: {parentRefs: [{name: gw, sectionName: tcp}], rules: [{backendRefs: [{name: b, port: 1}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: d}
spec:
  targetRefs: [{group: "", kind: Service, name: b}]
  validation: {hostname: b.example.com, caCertificateRefs: [{group: "", kind: ConfigMap, name: none}]}
""")
    result = CliRunner().invoke(app, ["validate", "--json", str(tmp_path)])
    assert result.exit_code == 0
    found = [
        (p["line"], p["field"], p["message"].partition(":")[0]) for p in map(json.loads, result.stdout.splitlines())
    ]
    assert found == [
        (14, "spec.listeners[2]", "Accepted is False (UnsupportedProtocol)"),
        (15, "spec.listeners[3].tls.certificateRefs[0]", "Secret default/none does not exist"),
        (17, "", "ResolvedRefs is False (BackendNotFound)"),
        (22, "", "Accepted is False (NoValidCACertificate)"),
        (22, "", "ResolvedRefs is False (InvalidCACertificateRef)"),
        (26, "spec.targetRefs[0]", "Service default/b does not exist"),
    ]


def test_faults_of_tls_are_shown_at_their_fields(tmp_path):
    (tmp_path / "a.yaml").write_text("""apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: fastgate}
spec: {controllerName: fastgate.dev/gateway-controller}
---
apiVersion: v1
kind: Secret
metadata: {name: malformed}
type: kubernetes.io/tls
stringData: {tls.crt: hello, tls.key: hello}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: fastgate
  tls:
    frontend:
      default:
        validation:
          caCertificateRefs:
          - {group: "", kind: ConfigMap, name: none}
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    tls:
      certificateRefs:
      - name: malformed
      options:
        example.com/any: thing
  - name: options
    port: 444
    protocol: HTTPS
    tls:
      certificateRefs:
      - name: malformed
      options:
        fastgate.dev/min-tls-version: "1.0"
""")
    result = CliRunner().invoke(app, ["validate", "--json", str(tmp_path)])
    assert result.exit_code == 1  # for the option: nothing but this file can put it right
    found = {
        (p["line"], p["severity"], p["field"], p["message"].partition(":")[0])
        for p in map(json.loads, result.stdout.splitlines())
    }
    certificate, authority = "Secret default/malformed", "ConfigMap default/none does not exist"
    option = "spec.listeners[1].tls.options.fastgate.dev/min-tls-version"
    assert found == {
        (0, "warning", "", "listener https"),
        (12, "warning", "", "Accepted is False (ListenersNotValid)"),
        (22, "warning", "spec.tls.frontend.default.validation.caCertificateRefs[0]", authority),
        (24, "warning", "spec.listeners[0]", "Accepted is False (NoValidCACertificate)"),
        (29, "warning", "spec.listeners[0].tls.certificateRefs[0]", certificate),
        (37, "warning", "spec.listeners[1].tls.certificateRefs[0]", certificate),
        (39, "error", option, "'1.0' is no version of TLS that is supported"),
    }
