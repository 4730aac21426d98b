"""What an API server does to objects on their way in, and `fastgate validate` on files that are wrong."""

import pytest
from typer.testing import CliRunner

from fastgate.cli import app
from fastgate.problems import Severity
from fastgate.sources.objects import Objects, Source

VERSION = "gateway.networking.k8s.io/v1"


def route(spec=None, **metadata):
    return {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": {"name": "a", **metadata}, "spec": spec or {}}


def load(*documents, objects=None):
    return (objects or Objects()).load([Source(document) for document in documents])


def the(loaded, kind="HTTPRoute", namespace="default", name="a"):
    return loaded.store.get(kind, namespace, name)


@pytest.mark.parametrize("namespace", [{}, {"namespace": ""}, {"namespace": None}])
def test_objects_without_namespace_are_in_default(namespace):
    loaded = load(route(**namespace))
    assert the(loaded).metadata.namespace == "default"
    assert the(loaded, "Namespace", "", "default").metadata.labels == {"kubernetes.io/metadata.name": "default"}


def test_objects_as_kubectl_exports_them():
    exported = route(
        uid="1", resourceVersion="2", generation=7, creationTimestamp="2026-01-02T03:04:05Z",
        managedFields=[{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
        annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    )  # fmt: skip
    exported["status"] = {"parents": []}
    loaded = load({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [exported]})
    assert not loaded.problems
    assert the(loaded).metadata.creation_timestamp == "2026-01-02T03:04:05Z"


def test_generation_counts_changes_of_the_content_only():
    objects = Objects()
    generations = [
        the(load(document, objects=objects)).metadata.generation
        for document in (
            route(), route(labels={"a": "b"}), {**route(), "status": {"parents": []}}, route({"hostnames": ["a"]}),
            route({"hostnames": ["a"]}), route(),
        )
    ]  # fmt: skip
    assert generations == [1, 1, 1, 2, 2, 3]


def test_unknown_kinds_are_warnings_that_name_them():
    loaded = load({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}})
    (problem,) = loaded.problems
    assert (problem.severity, problem.field) == (Severity.WARNING, "kind")
    assert problem.message == "kind Deployment of apps/v1 is not served and is left alone"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (route({"useDefaultGateways": "All"}), "spec.useDefaultGateways"),
        (route({"rules": [{"sessionPersistence": {}}]}), "spec.rules[0].sessionPersistence"),
        (
            {
                "apiVersion": VERSION, "kind": "Gateway", "metadata": {"name": "a"},
                "spec": {"gatewayClassName": "a", "defaultScope": "All", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}]},
            },
            "spec.defaultScope",
        ),
    ],
)  # fmt: skip
def test_fields_of_the_experimental_channel_say_so(document, field):
    (problem,) = load(document).problems
    assert problem.field == field
    assert "experimental channel" in problem.message


@pytest.mark.parametrize(
    ("text", "message"), [("file:none.pem", "No such file"), ("file:.", "Is a directory")]
)  # fmt: skip
def test_files_of_secrets_that_cannot_be_read(tmp_path, text, message):
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"tls.key": text}}
    (problem,) = Objects().load([Source(secret, "s.yaml", tmp_path)]).problems
    assert problem.field == "stringData.tls.key"
    assert message in problem.message
    (problem,) = load(secret).problems
    assert "in a file itself" in problem.message


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "a resource is a mapping, not a list"),
        ("a", "a resource is a mapping, not a string"),
        ({"kind": "HTTPRoute"}, "apiVersion is missing"),
        ({"apiVersion": VERSION, "kind": 1}, "kind is missing or not a string"),
        ({"apiVersion": VERSION, "kind": "HTTPRoute"}, "metadata is missing"),
        (
            {"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": {"name": 1}},
            "metadata.name is missing or not a string",
        ),
    ],
)
def test_documents_that_are_no_objects(document, message):
    (problem,) = load(document).problems
    assert message in problem.message


def validate(file, text):
    file.write_text(text)
    return CliRunner().invoke(app, ["validate", str(file)])


def test_a_hundred_thousand_errors_are_counted_and_the_first_are_shown(tmp_path):
    labels = ",".join(f"'b {n}': c" for n in range(100_000))
    result = validate(
        tmp_path / "a.yaml", f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, labels: {{{labels}}}}}\n"
    )
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 202
    assert "a.yaml:3:37: error: ConfigMap/default/a: metadata.labels.b 0" in lines[0]
    assert lines[200] == "... and 99,800 more"
    assert lines[201] == "0 objects: 100,000 errors, 0 warnings"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: " + "K" * (10 << 20) + "\nmetadata: {name: a}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + "a" * (10 << 20) + "}\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  ? " + "f" * (1 << 20) + "\n  : 1\n",
    ],
    ids=("kind", "name", "field"),
)
def test_what_is_long_is_not_repeated(tmp_path, text):
    assert len(validate(tmp_path / "a.yaml", text).output) < 3000
