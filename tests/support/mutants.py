"""Documents that differ from a valid one in one place, at every place, led by the schema of its CRD."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_GONE = object()
_OTHER_TYPES = ("text", 1, 1.5, True, [], {})
_METADATA: dict[str, tuple[Any, ...]] = {
    "name": ("A", "a.b", "a..b", "-a", "a-", "a_b", "é", "a" * 253, "a" * 254, "a\n"),
    "namespace": ("a", "A", "a.b", "a" * 63, "a" * 64, 1, ""),
    "labels": (
        {}, {"a": ""}, {"a": "b"}, {"a": "-b"}, {"a": "b c"}, {"a": "b" * 63}, {"a": "b" * 64}, {"a": 1}, {"": "b"},
        {"x.y/a": "b"}, {"X.y/a": "b"}, {"/a": "b"}, {"x/": "b"}, {"x/y/a": "b"}, {"a" * 63: "b"}, {"a" * 64: "b"},
        {"a" * 253 + "/a": "b"}, {"a" * 254 + "/a": "b"}, {"a": "b\n"}, {"a\n": "b"}, {"a": "é"}, [], "a",
    ),
    "annotations": (
        {}, {"a": "anything at all: é\n"}, {"A.b/c": "d"}, {"a b": "c"}, {"": "c"}, {"a": 1}, {"a": "x" * (256 * 1024 - 1)},
        {"a": "x" * 256 * 1024}, {"a": "é" * 128 * 1024}, {"a" * 64: ""}, {"a/b/c": ""},
    ),
    "finalizers": (["a.b/c"], ["a b"], "a", [1], [""]),
    "ownerReferences": (
        [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b"}], [{"apiVersion": "v1", "kind": "Pod", "name": "a"}],
        [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "b", "other": 1}], [{}], {},
    ),
    "creationTimestamp": (None, "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+01:00", "2026-01-02", "yesterday", 1),
    "uid": ("a", 1),
    "resourceVersion": ("1", 1),
    "generation": (0, 1, "1", 2**63),
    "managedFields": ([], {}),
    "other": (1,),
}  # fmt: skip


def mutants(document: dict, schema: dict) -> Iterator[dict]:
    """Mutants of a document, whose `spec` has this schema; some are valid."""
    for path, value in (*_of_value(document["spec"], schema, ()), ((), _GONE), ((), {}), ((), [])):
        yield _with(document, ("spec", *path), value)
    for field, values in _METADATA.items():
        for value in values:
            yield _with(document, ("metadata", field), value)
    yield _with(document, ("other",), 1)
    yield _with(document, ("apiVersion",), "gateway.networking.k8s.io/v2")


def _with(document: dict, path: tuple[str | int, ...], value: Any) -> dict:
    out = here = copy.copy(document)
    for part in path[:-1]:  # what is on the way is copied, the rest is shared
        here[part] = copy.copy(here[part])
        here = here[part]
    if value is not _GONE:
        if isinstance(here, list) and path[-1] == len(here):
            here.append(value)
        else:
            here[path[-1]] = value
    elif path:
        del here[path[-1]]
    return out


def _of_value(value: Any, schema: dict, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(path, other value) for everything in a value."""
    if path:
        yield path, _GONE
        yield path, None
        yield from ((path, other) for other in _OTHER_TYPES if type(other) is not type(value))
    if isinstance(value, dict):
        yield from _of_object(value, schema, path)
    elif isinstance(value, list):
        yield from _of_list(value, schema, path)
    elif isinstance(value, str):
        yield from ((path, other) for other in _texts(value, schema))
    elif type(value) is int:
        low, high = schema.get("minimum", 0), schema.get("maximum", 2**31 - 1)
        numbers = {low - 1, low, low + 1, high - 1, high, high + 1, -1, 0, 2**31, 2**63, value + 0.5}
        yield from ((path, number) for number in [*numbers, *schema.get("enum", ())])


def _of_object(value: dict, schema: dict, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    properties = schema.get("properties")
    if properties is None:  # a mapping
        items = schema.get("additionalProperties", {})
        for key in ("", "a", "a/b", "A.b/c", "a/b/c", "a b", "a" * 64, "a" * 253 + "/b", "a\n"):
            yield (*path, key), _example(items)
        for size in _around(0, schema.get("maxProperties")):
            yield path, {f"k{n}": _example(items) for n in range(size)}
        for key, item in value.items():
            yield from _of_value(item, items, (*path, key))
        return
    yield (*path, "unknownField"), 1
    for name, sub in properties.items():
        if name in value:
            yield from _of_value(value[name], sub, (*path, name))
        else:
            yield (*path, name), None
            yield from (((*path, name), example) for example in _examples(sub))


def _of_list(value: list, schema: dict, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    items = schema.get("items", {})
    yield path, []
    yield (*path, len(value)), None
    if value:
        yield (*path, len(value)), value[-1]
    for size in _around(schema.get("minItems", 0), schema.get("maxItems")):
        template = value[-1] if value else _example(items)
        yield path, [_numbered(template, items, schema, n) for n in range(size)]
    for n, item in enumerate(value):
        yield from _of_value(item, items, (*path, n))


def _numbered(item: Any, schema: dict, of: dict, n: int) -> Any:
    """An item that a list can have beside its like."""
    if isinstance(item, str):
        return schema["enum"][n % len(schema["enum"])] if "enum" in schema else f"{item}{n}"
    if isinstance(item, int):
        return schema.get("minimum", 0) + n
    keys = of.get("x-kubernetes-list-map-keys") or (["name"] if "name" in schema.get("properties", {}) else [])
    more = {key: n + 1 if schema["properties"][key]["type"] == "integer" else f"n{n}" for key in keys}
    if "port" in item and "protocol" in item:
        more["port"] = n + 1
    return {**item, **more}


def _texts(value: str, schema: dict) -> Iterator[str]:
    for text in schema.get("enum", ()):
        yield from (text, text.lower(), text[:-1])
    for size in _around(schema.get("minLength", 0), schema.get("maxLength")):
        yield "a" * size
        yield (value * (size // len(value) + 1))[:size] if value else "/" + "a" * (size - 1)
        yield "é" * size
        yield "😀" * size
        yield ("a." * size)[: size - 1] + "a"
    yield from (
        value + "\n",
        value + " ",
        " " + value,
        value.upper(),
        value + "x",
        "-" + value,
        value + ".",
        value + "/",
        "*",
    )
    yield from (
        value + "é",
        value + "\x00",
        "*." + value,
        value[::-1],
        value.replace("a", "_"),
        "1.2.3.4",
        value + "*",
        "/" + value,
    )
    if "(h|m|s|ms)" in schema.get("pattern", ""):
        yield from ("0s", "1h", "1h2m3s4ms", "1h2m3s4ms5s", "99999h", "100000h", "1.5s", "1us", "-1s", "1", "1s1s1s")


def _around(low: int | None, high: int | None) -> Iterator[int]:
    """Sizes at the bounds and beside them; bounds in the hundreds of thousands are left to the models' own tests."""
    sizes = {n + d for n in (low, high) if n is not None for d in (-1, 0, 1)}
    return (n for n in sorted(sizes) if 0 <= n <= 10_000)


def _example(schema: dict) -> Any:
    return next(iter(_examples(schema)), {})


def _examples(schema: dict) -> Iterator[Any]:
    """A few values of a schema: with what it requires only, and with each field that it has."""
    kind = schema.get("type")
    if "default" in schema and kind != "object":
        yield schema["default"]
    if "enum" in schema:
        yield from schema["enum"]
    elif kind == "string":
        yield (
            "1s"
            if "(h|m|s|ms)" in schema.get("pattern", "")
            else "http://a"
            if "http" in schema.get("pattern", "")
            else "a"
        )
    elif kind == "integer":
        yield schema.get("minimum", 1)
    elif kind == "boolean":
        yield from (True, False)
    elif kind == "array":
        yield []
        yield from ([item] for item in _examples(schema["items"]))
    elif kind == "object":
        yield from _objects(schema.get("properties", {}), schema.get("required", ()))


def _objects(properties: dict, required: list[str]) -> Iterator[dict]:
    least = {name: _example(properties[name]) for name in required if name in properties}
    yield least
    if least:
        yield {}
    for name, sub in properties.items():
        if name not in least:
            yield {**least, name: _example(sub)}
