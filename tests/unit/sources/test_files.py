"""Files that change, vanish and break, and what is kept of them."""

from fastgate.sources.files import GRACE, Files
from fastgate.sources.objects import Objects

ROUTE = """apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec: {{hostnames: [{host}]}}
"""


def names(result):
    return sorted(source.value["metadata"]["name"] for source in result[0])


def route(name, host="a.example"):
    return ROUTE.format(name=name, host=host)


def test_directories_hold_yaml_and_json_but_nothing_hidden(tmp_path):
    (tmp_path / "a.yaml").write_text(route("a") + "---\n" + route("b"))
    (tmp_path / "c.json").write_text('{"kind": "X", "apiVersion": "v1", "metadata": {"name": "c"}}')
    (tmp_path / ".hidden.yaml").write_text(route("no"))
    (tmp_path / "notes.txt").write_text(route("no"))
    assert names(Files([tmp_path]).read()) == ["a", "b", "c"]


def test_unchanged_documents_are_the_same_objects(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(route("a") + "---\n" + route("b"))
    files = Files([tmp_path])
    before = {s.value["metadata"]["name"]: s.value for s in files.read()[0]}
    file.write_text(route("a", "changed.example") + "---\n" + route("b"))
    after = {s.value["metadata"]["name"]: s.value for s in files.read()[0]}
    assert after["b"] is before["b"]
    assert after["a"] is not before["a"]


def test_a_broken_file_keeps_what_it_had(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(route("a"))
    files = Files([tmp_path])
    files.read()
    file.write_text(route("a") + "---\nspec: {")
    sources, problems = files.read()
    assert [s.value["metadata"]["name"] for s in sources] == ["a"]
    assert (problems[0].file, problems[0].place[0]) == (str(file), 7)


def test_a_file_that_is_gone_or_empty_for_a_moment_deletes_nothing(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(route("a"))
    files = Files([tmp_path])
    files.read(now=0.0)
    file.unlink()
    assert names(files.read(now=1.0)) == ["a"]
    assert files.pending()
    file.write_text("")
    assert names(files.read(now=1.5)) == ["a"]
    file.write_text(route("b"))
    assert names(files.read(now=2.0)) == ["b"]
    file.unlink()
    files.read(now=3.0)
    assert names(files.read(now=3.0 + GRACE)) == []
    assert not files.pending()


def test_a_swapped_symbolic_link_is_a_change(tmp_path):
    for version, host in (("v1", "one.example"), ("v2", "two.example")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(route("a", host))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    files = Files([tmp_path / "a.yaml"])
    assert files.read()[0][0].value["spec"]["hostnames"] == ["one.example"]
    (tmp_path / "new").symlink_to("v2")
    (tmp_path / "new").replace(tmp_path / "..data")
    assert files.read()[0][0].value["spec"]["hostnames"] == ["two.example"]


def test_what_is_not_there_is_said(tmp_path):
    _, problems = Files([tmp_path / "nothing.yaml"]).read()
    assert "no such file" in str(problems[0])
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    _, problems = Files([tmp_path / "bytes.yaml"]).read()
    assert "not UTF-8" in str(problems[0])


def test_problems_have_file_line_column_and_field(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("# a comment\n---\n" + route("a", "UPPER") + "---\n" + route("b").replace("hostnames", "hostname"))
    sources, _ = Files([tmp_path]).read()
    loaded = Objects().load(sources)
    first, second = loaded.problems
    assert (first.place, first.object, first.field) == ((6, 20), "HTTPRoute/default/a", "spec.hostnames[0]")
    assert (second.place[0], second.field) == (11, "spec.hostname")
    assert "did you mean 'hostnames'" in second.message


def test_a_refused_object_keeps_its_previous_version(tmp_path):
    file, objects = tmp_path / "a.yaml", Objects()
    file.write_text(route("a") + "---\n" + route("b"))
    files = Files([tmp_path])
    first = objects.load(files.read()[0])
    assert not first.problems
    file.write_text(route("a", "-bad-") + "---\n" + route("b", "new.example"))
    loaded = objects.load(files.read()[0])
    assert loaded.refused == {("HTTPRoute", "default", "a")}
    assert loaded.store.get("HTTPRoute", "default", "a") is first.store.get("HTTPRoute", "default", "a")
    assert loaded.store.get("HTTPRoute", "default", "b").spec.hostnames == ["new.example"]
    assert loaded.store.get("HTTPRoute", "default", "b").metadata.generation == 2


def test_what_an_api_server_does_for_free(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n"
        "- {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}, stringData: {a: b, f: 'file:secret.txt'}}\n"
        "- {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop}}\n"
        "- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n"
    )
    (tmp_path / "secret.txt").write_text("x")
    loaded = Objects().load(Files([tmp_path]).read()[0])
    store = loaded.store
    assert store.get("Namespace", "", "shop").metadata.labels == {"kubernetes.io/metadata.name": "shop"}
    assert store.get("GatewayClass", "", "fastgate").spec.controller_name == "fastgate.dev/gateway-controller"
    assert store.get("Secret", "shop", "s").data == {"a": "Yg==", "f": "eA=="}
    assert "Yg==" not in repr(store.get("Secret", "shop", "s"))
    assert [p.severity.value for p in loaded.problems] == ["error", "warning"]
    assert "also in" in loaded.problems[0].message
