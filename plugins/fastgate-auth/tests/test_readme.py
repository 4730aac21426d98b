"""The example of README.md."""

import re
from pathlib import Path

import yaml

from fastgate import Catalog
from fastgate.plugins import values


def test_the_example_can_be_used():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    documents = list(yaml.safe_load_all(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]))
    secret = next(one["stringData"] for one in documents if one["kind"] == "Secret")
    specs = [one["spec"] for one in documents if one["kind"] == "Filter"]
    assert [spec["type"] for spec in specs] == ["APIKey", "BasicAuth"]
    for spec in specs:
        found = Catalog().check(spec["type"])
        canonical = found.validated(spec["config"])
        resolved = {path: secret[ref.key].encode() for path, ref in found.references(canonical)}
        assert found.instance(values.resolve(canonical, resolved)).config.identity_header in ("x-partner", "x-user")
