"""The models beside the CRDs of the module: the same fields, types, enums, patterns, bounds, defaults and rules."""

import faults
import gateway_api
import pytest
from pydantic_core import PydanticUndefined

from fastgate import api
from fastgate.api.base import GROUP

# Every CEL rule of the CRDs by its message: what a validator of ours says, or why none is needed.
ELSEWHERE = {
    "field is immutable": "an update of a file is a new object",
    "Listener name must be unique within the Gateway": "the list is a map by name: duplicate name",
    "Port for TLS configuration must be unique within the Gateway": "the list is a map by port: duplicate port",
    "Hostnames must be valid based on RFC-1123": "the pattern of the field says it",
    "Wildcards on hostnames must be the first label, and the rest of hostname must be valid based on RFC-1123": "the pattern of the field says it",
    "type must be one of ['Exact', 'PathPrefix', 'RegularExpression']": "the field is an enum",
}


def model_in(annotation):
    return api._model_in(annotation)


def constraints(field):
    """What pydantic checks of a field, its list items and map values aside."""
    out = {}
    for item in field.metadata:
        for name, ours in (
            ("min_length", "minimum length"),
            ("max_length", "maximum length"),
            ("ge", "minimum"),
            ("le", "maximum"),
        ):
            if getattr(item, name, None) is not None:
                out[ours] = getattr(item, name)
        if getattr(item, "pattern", None):
            out["pattern"] = item.pattern
    return out


def expected(schema):
    out = {}
    kind = schema.get("type")
    for theirs, ours in (("minimum", "minimum"), ("maximum", "maximum"), ("pattern", "pattern")):
        if theirs in schema:
            out[ours] = schema[theirs]
    word = {"string": "Length", "array": "Items", "object": "Properties"}.get(kind, "")
    for bound, ours in (("min", "minimum length"), ("max", "maximum length")):
        if schema.get(bound + word):
            out[ours] = schema[bound + word]
    if schema.get("format") == "int32" and "maximum" not in schema:
        out["maximum"] = 2**31 - 1
    return out


def inner(annotation):
    """The annotation without `| None`."""
    options = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
    return options[0] if type(None) in getattr(annotation, "__args__", ()) and len(options) == 1 else annotation


def field_constraints(field):
    """Constraints of the field itself, or of the one alternative to None."""
    out = constraints(field)
    annotation = inner(field.annotation)
    if hasattr(annotation, "__metadata__"):
        for item in annotation.__metadata__:
            out |= constraints(type("F", (), {"metadata": getattr(item, "metadata", None) or [item]}))
    return out


def walk(model, schema, path, differences):  # noqa: C901, PLR0912 - one branch for each thing that is compared
    ours = {f.alias or name: f for name, f in model.model_fields.items()}
    theirs = schema.get("properties", {})
    for name in ours.keys() ^ theirs.keys():
        differences.append(f"{path}.{name}: only in {'the model' if name in ours else 'the CRD'}")
    for name in ours.keys() & theirs.keys():
        field, sub, here = ours[name], theirs[name], f"{path}.{name}"
        required = name in schema.get("required", ())
        if field.is_required() != required and "default" not in sub:
            differences.append(f"{here}: required {field.is_required()}, in the CRD {required}")
        got, want = field_constraints(field), expected(sub)
        if sub.get("type") == "integer" and want.get("maximum") == 2**31 - 1:
            want.pop("maximum")
            got.pop("maximum", None)
        if got.get("maximum") == 2**63 - 1 and "maximum" not in want:  # every integer of JSON ends there
            got.pop("maximum")
        if got != want and "enum" not in sub:
            differences.append(f"{here}: {got}, in the CRD {want}")
        if "enum" in sub:
            values = set(getattr(inner(field.annotation), "__args__", ()))
            if values != set(sub["enum"]):
                differences.append(f"{here}: enum {values}, in the CRD {sub['enum']}")
        if "default" in sub:
            default = field.get_default(call_default_factory=True, validated_data={})
            if isinstance(default, list):
                default = [d.model_dump(by_alias=True, exclude_none=True) for d in default]
            elif hasattr(default, "model_dump"):
                default = default.model_dump(by_alias=True, exclude_none=True)
            if default != sub["default"]:
                differences.append(f"{here}: default {default!r}, in the CRD {sub['default']!r}")
        elif field.default not in (None, PydanticUndefined) or field.default_factory is not None:
            differences.append(f"{here}: has a default that the CRD does not have")
        nested = model_in(field.annotation)
        items = sub.get("items", sub)
        if nested is not None and items.get("properties"):
            walk(nested, items, here + ("[]" if "items" in sub else ""), differences)


@pytest.mark.parametrize("kind", gateway_api.PLURALS)
def test_models_and_crds_agree(kind):
    schema = gateway_api.crd(gateway_api.PLURALS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
        "properties"
    ]["spec"]
    differences = []
    walk(api.KINDS[GROUP, kind].model_fields["spec"].annotation, schema, "spec", differences)
    assert differences == []


def messages(schema):
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for sub in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(sub, dict):
            yield from messages(sub)


@pytest.mark.parametrize("kind", gateway_api.PLURALS)
def test_every_rule_of_the_crds_is_shown_to_fire(kind):
    schema = gateway_api.crd(gateway_api.PLURALS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"][
        "properties"
    ]["spec"]
    shown = {message.lower() for of, _, message in faults.FAULTS if of == kind}
    assert {m for m in messages(schema) if m.lower() not in shown and m not in ELSEWHERE} == set()
