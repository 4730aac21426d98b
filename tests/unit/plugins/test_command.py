"""`fastgate plugins`, and what `fastgate plugins new` writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from fastgate import Catalog
from fastgate.cli import app

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastgate" / "mypy"

STAMP = """
    import fastgate
    from pydantic import BaseModel
    class Config(BaseModel):
        header: str = "x-stamp"
    class Stamp(fastgate.Filter[Config]):
        async def on_log(self, request, context, response): pass
        async def on_request(self, request, context): pass
"""
USES = """
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: f}
spec: {type: %s, targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  rules:
  - backendRefs:
    - name: b
      port: 80
      filters: [{type: ExtensionRef, extensionRef: {group: fastgate.dev, kind: Filter, name: f}}]
"""


def run(*arguments):
    return CliRunner().invoke(app, ["plugins", *map(str, arguments)])


def listed(*arguments):
    done = run("--json", *arguments)
    return done.exit_code, json.loads(done.stdout)


def test_what_is_installed_is_listed(install):
    install("dist-stamp", {"Stamp": "mod_stamp:Stamp"}, mod_stamp=STAMP)
    code, document = listed()
    assert (code, document["problems"], document["pluginApi"]) == (0, [], "1.0")
    (one,) = (f for f in document["filters"] if f["type"] == "Stamp")
    schema = one.pop("schema")
    assert one == {
        "type": "Stamp",
        "distribution": "dist-stamp",
        "version": "1",
        "class": "mod_stamp:Stamp",
        "phases": ["request", "log"],
        "async": True,
        "bufferBody": 0,
        "problem": None,
        "usedBy": [],
    }
    assert schema["properties"]["header"]["default"] == "x-stamp"
    lines = [line.split() for line in run().stdout.splitlines()]
    assert lines[0] == ["FILTER", "DISTRIBUTION", "VERSION", "PHASES"]
    assert ["Stamp", "dist-stamp", "1", "request,", "log"] in lines


@pytest.mark.parametrize("spelling", ["Stamp", "dist-stamp/Stamp"])
def test_where_filters_are_used(install, tmp_path, spelling):
    install("dist-stamp", {"Stamp": "mod_stamp:Stamp", "Other": "mod_stamp:Stamp"}, mod_stamp=STAMP)
    (tmp_path / "routes.yaml").write_text(USES % spelling)
    code, document = listed("--used", "-f", tmp_path / "routes.yaml")
    assert code == 0, document
    assert [(f["type"], f["usedBy"]) for f in document["filters"]] == [
        ("Stamp", ["Filter/default/f", "Gateway/default/gw", "HTTPRoute/default/r"])
    ]
    assert (
        "Filter/default/f, Gateway/default/gw, HTTPRoute/default/r"
        in run("--used", "-f", tmp_path / "routes.yaml").stdout
    )
    assert run("--used").exit_code == 2


def test_what_cannot_be_used_is_an_error(install):
    install("dist-bad", {"Bad": "mod_bad:Bad"}, mod_bad="raise RuntimeError('odd')")
    install("dist-hook", {"hook": "mod_hook"}, group="fastgate", mod_hook="def fastgate_startup(): pass")
    code, document = listed()
    assert code == 1
    assert any("mod_bad:Bad cannot be imported: RuntimeError: odd" in p for p in document["problems"])
    assert any("fastgate_startup is not marked" in p for p in document["problems"])
    assert "unusable" in run().stdout


def test_a_new_plugin_works(tmp_path, monkeypatch):
    folder = tmp_path / "acme.stamp-header"
    done = run("new", "acme.stamp-header", "-d", folder)
    assert done.exit_code == 0, done.output
    assert {str(folder / "README.md"), str(folder / "src/acme_stamp_header/py.typed")} < set(done.stdout.split())
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MYPYPATH": str(ROOT / "src")}
    for tool in (["mypy", "--cache-dir", str(CACHE)], ["pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]):
        checked = subprocess.run(
            [sys.executable, "-m", *tool], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    monkeypatch.syspath_prepend(str(folder / "src"))
    from acme_stamp_header import AcmeStampHeader  # noqa: PLC0415 - just written

    found = Catalog({"AcmeStampHeader": AcmeStampHeader}).check("AcmeStampHeader")
    documents = list(yaml.safe_load_all((folder / "example.yaml").read_text()))
    (spec,) = (d["spec"] for d in documents if d["kind"] == "Filter")
    assert spec["type"] == "AcmeStampHeader"
    assert found.validated(spec["config"]) == {"header": "x-hi", "value": "hello"}


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine").write_text("kept")
    done = run("new", "stamp", "-d", tmp_path)
    assert done.exit_code == 1
    assert "exists already" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["", "1a", "a b", "../a", "a/b", "a-", "json", "class", "fastgate", "ä"])
def test_names_that_no_package_can_have(name, tmp_path):
    assert run("new", name, "-d", tmp_path / "new").exit_code == 2
    assert not (tmp_path / "new").exists()
