"""The beginning of a plugin: a package with one filter, typed, with a test and an example."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from fastgate.plugins.version import PLUGIN_API

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_.]+[A-Za-z0-9]+)*")
_TAKEN = frozenset(("fastgate", "pytest", "pydantic", "test", "tests"))


class NameTakenError(Exception):
    """There is a file or a folder where one would be written."""


def write(name: str, directory: Path | None = None) -> list[Path]:
    """Write a package, and return its files.

    Args:
        name: of the distribution; the module's and the class's follow from it.
        directory: where to; a new folder of that name by default.

    Raises:
        ValueError: the name cannot be one.
        NameTakenError: the folder has something in it.
        OSError: it cannot be written.
    """
    module = re.sub(r"[-_.]+", "_", name).lower()
    if not _NAME.fullmatch(name) or not module.isidentifier():
        raise ValueError(f"{name!r} is no name of a package: letters, digits and '-', with a letter first")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names or module in _TAKEN:
        raise ValueError(f"{name!r} is the name of another module: choose one of your own")
    folder = Path(name) if directory is None else directory
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NameTakenError(f"{folder} exists already, and is left as it is")
    words = {
        "NAME": name,
        "MODULE": module,
        "CLASS": "".join(part[:1].upper() + part[1:] for part in module.split("_")),
        "API": str(PLUGIN_API[0]),
    }
    written = []
    for path, text in _FILES.items():
        file = folder / _filled(path, words)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(_filled(text, words))
        written.append(file)
    return written


def _filled(text: str, words: dict[str, str]) -> str:
    return re.sub(r"@(\w+)@", lambda found: words[found[1]], text)


_FILES = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "@NAME@"
version = "0.1.0"
description = "A filter for fastgate"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["fastgate", "pydantic>=2.12"]

[project.optional-dependencies]
test = ["fastgate[testing]", "mypy>=1.18", "pytest>=8.4", "pytest-asyncio>=1.1"]

[project.entry-points."fastgate.filters"]
@CLASS@ = "@MODULE@:@CLASS@"

[tool.setuptools.packages.find]
where = ["src"]

[tool.setuptools.package-data]
@MODULE@ = ["py.typed"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"

[tool.mypy]
strict = true
mypy_path = "src"
files = ["src", "tests"]
plugins = ["pydantic.mypy"]
""",
    "README.md": """\
# @NAME@

A filter for fastgate: sets a header field of every request.

```
pip install -e '.[test]'
pytest && mypy
fastgate plugins                 # lists @CLASS@
fastgate validate example.yaml
fastgate run example.yaml --port-map 80=8080
```

Its configuration, in a Filter's `spec.config`:

| field | what it is | default |
| --- | --- | --- |
| `header` | the field that is set | `x-stamp` |
| `value` | what it is set to | `hello` |
""",
    "src/@MODULE@/__init__.py": '''\
"""A filter that sets a header field of every request."""

from __future__ import annotations

import fastgate
from pydantic import BaseModel, Field


class @CLASS@Config(BaseModel):
    """What a Filter's `spec.config` says."""

    header: str = Field(default="x-stamp", description="The field that is set.")
    value: str = Field(default="hello", description="What it is set to.")


class @CLASS@(fastgate.Filter[@CLASS@Config]):
    """Sets a header field of every request."""

    fastgate_api = "@API@"

    async def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Edit the head. Return None to go on, or a `fastgate.Response` to answer at once."""
        request.headers[self.config.header] = self.config.value
        return None
''',
    "src/@MODULE@/py.typed": "",
    "tests/test_@MODULE@.py": '''\
"""A filter is tested by plain calls, and in a gateway before a backend that takes notes."""

from fastgate import Context, Request
from fastgate.testing import Starter
from @MODULE@ import @CLASS@, @CLASS@Config


async def test_the_field_is_set() -> None:
    request = Request("GET", "/", headers={"X-Stamp": "from the client"})
    assert await @CLASS@().on_request(request, Context()) is None
    assert request.headers["x-stamp"] == "hello"


async def test_field_and_value_are_configured() -> None:
    request = Request()
    await @CLASS@(@CLASS@Config(header="x-hi", value="there")).on_request(request, Context())
    assert request.headers == {"x-hi": "there"}


async def test_the_backend_gets_the_field(fastgate_gateway: Starter) -> None:
    gateway = fastgate_gateway(@CLASS@, config={"header": "x-hi"})
    response = await gateway.async_client.get("/a")
    assert response.status_code == 200
    assert gateway.backend.requests[0].headers["x-hi"] == "hello"
''',
    "example.yaml": """\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: example}
spec:
  gatewayClassName: fastgate
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {name: example}
spec:
  type: @CLASS@
  config: {header: x-hi}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: example}
spec:
  parentRefs: [{name: example}]
  rules:
  - filters:
    - type: ExtensionRef
      extensionRef: {group: fastgate.dev, kind: Filter, name: example}
    backendRefs: [{group: fastgate.dev, kind: Backend, name: example}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: example}
spec: {endpoints: [{address: 127.0.0.1, port: 8000}]}
""",
    ".gitignore": "__pycache__/\n*.egg-info/\n.mypy_cache/\n.pytest_cache/\n.venv/\nbuild/\ndist/\n",
}
