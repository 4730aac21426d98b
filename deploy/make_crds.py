"""Writes deploy/crds/: CustomResourceDefinitions of fastgate.dev, made of the models that resources are read with.

`python deploy/make_crds.py` after a change of a model. What is Python in the models is in crd-rules.yaml once more, as
far as an API server can check them.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fastgate.api import fastgate, filters

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema = dict[str, Any]

CRDS = Path(__file__).with_name("crds")
KINDS: tuple[type[BaseModel], ...] = (fastgate.Backend, filters.Filter, fastgate.GatewayParameters)
_GROUP, _VERSION = "fastgate.dev", "v1alpha1"
_PLURALS = {"GatewayParameters": "gatewayparameters"}
_RULES = yaml.safe_load(Path(__file__).with_name("crd-rules.yaml").read_text())
_DROPPED = ("title", "default", "additionalProperties", "properties", "items", "anyOf")  # or treated by itself
_TYPING = ("type", "title")
_EXACT = 2**53  # numbers above are not exact in JSON


def path(kind: type[BaseModel]) -> Path:
    """Return the file of a kind."""
    return CRDS / f"{_GROUP}_{_plural(kind)}.yaml"


def text(kind: type[BaseModel]) -> str:
    """Return what is in it."""
    head = "# Made by deploy/make_crds.py of the models in src/fastgate/api.\n"
    return head + yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def definition(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    name, plural = kind.__name__, _plural(kind)
    properties: Schema = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": _structural(_json_schema(kind)["properties"]["spec"]),
    }
    columns = [{"name": n, "type": "string", "jsonPath": where} for n, where in _RULES["columns"][name].items()]
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    schema = {"description": _paragraphs(inspect.getdoc(kind) or ""), "type": "object", "required": ["spec"]}
    version: dict[str, Any] = {
        "name": _VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [*columns, age],
        "schema": {"openAPIV3Schema": {**schema, "properties": properties}},
    }
    if status := _RULES["status"].get(name):
        properties["status"] = status
        version["subresources"] = {"status": {}}
    names = {"kind": name, "listKind": f"{name}List", "plural": plural, "singular": name.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "scope": "Namespaced",
            "names": {**names, "categories": ["fastgate"]},
            "versions": [version],
        },
    }


def _plural(kind: type[BaseModel]) -> str:
    return _PLURALS.get(kind.__name__, f"{kind.__name__.lower()}s")


def _json_schema(model: type[BaseModel]) -> Schema:
    """JSON Schema of a model with those of its parts in their places; "title" has the names of models."""
    whole = model.model_json_schema(by_alias=True)
    return _inlined(whole, whole.get("$defs", {}))


def _inlined(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return _inlined({**definitions[reference.rpartition("/")[2]], **rest}, definitions)
    return {key: _inlined(value, definitions) for key, value in node.items() if key != "$defs"}


def _structural(schema: Schema) -> Schema:
    """Turn JSON Schema into what an API server takes: every part has a type, and null is never a value."""
    schema = _without_null(schema)
    model = schema.get("title", "")
    out = {key: value for key, value in schema.items() if key not in _DROPPED}
    if (special := _of_any(schema)) is not None:
        return {**out, **special}
    if "description" in out:
        out["description"] = _paragraphs(out["description"])
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if out.get("type") == "integer":
        largest = out.get("maximum", 0)
        out["format"] = "int32" if largest < 2**31 else "int64"
        if largest > _EXACT:
            del out["maximum"]
    if properties := schema.get("properties"):
        lists = _RULES["lists"]
        out["properties"] = {n: _structural(part) | lists.get(f"{model}.{n}", {}) for n, part in properties.items()}
    if items := schema.get("items"):
        out["items"] = _structural(items)
    if rules := _RULES["rules"].get(model):
        out["x-kubernetes-validations"] = rules
    return out


def _of_any(schema: Schema) -> Schema | None:
    """What stands for objects with any keys, and for values of two types; None: it is neither."""
    if isinstance(values := schema.get("additionalProperties"), dict):
        if values.get("type") == "string":
            return {"additionalProperties": _structural(values)}
        return {"x-kubernetes-preserve-unknown-fields": True}
    if {option.get("type") for option in schema.get("anyOf", ())} - {"null"} == {"integer", "string"}:
        limits = {key: limit for option in schema["anyOf"] for key, limit in option.items() if key not in _TYPING}
        return {**limits, "x-kubernetes-int-or-string": True}
    return None


def _without_null(schema: Schema) -> Schema:
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) != 1:
        return schema
    return {key: value for key, value in schema.items() if key not in {"anyOf", "title"}} | options[0]


def _paragraphs(docstring: str) -> str:
    """Join the lines of each paragraph. Attributes are described by their names here."""
    kept = re.split(r"\n\s*Attributes:\n", inspect.cleandoc(docstring))[0]
    return "\n\n".join(" ".join(part.split()) for part in kept.strip().split("\n\n"))


class _Dumper(yaml.SafeDumper):
    """Writes twice what is there twice."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def main() -> None:
    """Write all files."""
    for kind in KINDS:
        path(kind).write_text(text(kind))


if __name__ == "__main__":
    main()
