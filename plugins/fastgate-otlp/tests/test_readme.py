"""The example of README.md."""

import re
from pathlib import Path

import yaml

from fastgate import Catalog


def test_the_example_can_be_used():
    text = (Path(__file__).parents[1] / "README.md").read_text()
    documents = yaml.safe_load_all(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    (spec,) = (one["spec"] for one in documents if one["kind"] == "Filter")
    found = Catalog().check(spec["type"])
    assert found.instance(found.validated(spec["config"])).config.request_headers == ("x-tenant",)
