"""Documents to resources: what an API server would do to them on their way in.

A refused object keeps its previous version, as after a refused `kubectl apply`; the others are taken.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fastgate import api
from fastgate.problems import Problem, Severity, field_path
from fastgate.store import Key, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from fastgate.problems import Mark

NAME_LABEL = "kubernetes.io/metadata.name"
IMPLICIT_CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "fastgate", "generation": 1},
    "spec": {"controllerName": "fastgate.dev/gateway-controller"},
}

Fields = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A document and where it came from.

    Attributes:
        value: the document. The same object means the same content.
        file: path as the user gave it, or "".
        directory: where relative `file:` references start; None when the document may not have any.
        mark: from a field's path to its line and column.
    """

    value: Any
    file: str = ""
    directory: Path | None = None
    mark: Callable[[Fields], Mark] = lambda _: (0, 0)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a set of documents.

    Attributes:
        store: all objects, the implied ones too.
        problems: what is wrong with the documents.
        refused: objects that keep their previous version, or have none.
        given: how many objects of the store the documents have.
        places: the documents of the objects, and where in them each one starts.
    """

    store: Store
    problems: tuple[Problem, ...]
    refused: frozenset[Key] = frozenset()
    given: int = 0
    places: Mapping[Key, tuple[Source, Fields]] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep an object from being served."""
        return tuple(p for p in self.problems if p.severity is Severity.ERROR)

    def problem(self, key: Key, path: Fields, message: str, severity: Severity) -> Problem:
        """Return a problem with a field of an object, with the place that it was written at."""
        name = "/".join(filter(None, key))
        if key not in self.places:
            return Problem(message, object=name, field=field_path(path), severity=severity)
        source, at = self.places[key]
        where = (*at, *path)
        return Problem(message, source.file, partial(source.mark, where), name, field_path(where), severity)


@dataclass(slots=True)
class _Entry:
    """An object as it was taken last."""

    document: Any  # without what an API server ignores
    resource: Any
    generation: int


@dataclass(slots=True)
class _Pass:
    """One set of documents on its way."""

    taken: dict[Key, _Entry] = field(default_factory=dict)
    places: dict[Key, tuple[Source, Fields]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Key] = field(default_factory=set)


class Objects:
    """Turns one set of documents after the other into stores, and remembers what it took."""

    def __init__(self, kinds: api.Kinds | None = None) -> None:
        """Start with nothing. `kinds`: those of plugins."""
        self._kinds = kinds
        self._entries: dict[Key, _Entry] = {}

    def load(self, sources: Iterable[Source]) -> Loaded:
        """Validate documents. Everything that is wrong is in the result's problems; nothing is raised for it."""
        run = _Pass()
        for source in sources:
            for document, at in _expanded(source.value):
                self._take(run, source, document, at)
        for key in run.refused:
            if key not in run.taken and key in self._entries:
                run.taken[key] = self._entries[key]
        given = len(run.taken)
        self._imply(run)
        self._entries = run.taken
        store = Store({key: run.taken[key].resource for key in sorted(run.taken)})
        return Loaded(store, tuple(run.problems), frozenset(run.refused), given, run.places)

    def _take(self, run: _Pass, source: Source, document: Any, at: Fields) -> None:
        def refuse(message: str, where: Fields = (), name: str = "", severity: Severity = Severity.ERROR) -> None:
            path = (*at, *where)
            mark = partial(source.mark, path)
            run.problems.append(Problem(message, source.file, mark, name, field_path(path), severity))

        key = _key(document, refuse)
        if key is None:
            return
        name = "/".join(filter(None, key))
        if key in run.places:
            other, where = run.places[key]
            place = f"{other.file}:{other.mark(where)[0]}" if other.file else "another document"
            refuse(f"the same object is also in {place}", ("metadata", "name"), name)
            return
        before = self._entries.get(key)
        if before is not None and before.document is document:
            run.taken[key] = before
        else:
            try:
                run.taken[key] = self._validated(key, document, source, before)
            except api.UnknownKind as e:
                refuse(str(e), ("kind",), name, Severity.WARNING)
                return
            except api.Invalid as e:
                run.refused.add(key)
                for problem in e.problems:
                    refuse(problem.message, problem.path, name)
            except _FileReferenceError as e:
                run.refused.add(key)
                refuse(str(e), e.where, name)
        run.places[key] = (source, at)

    def _validated(self, key: Key, document: dict[str, Any], source: Source, before: _Entry | None) -> _Entry:
        if before is not None and before.document == document and key[0] != "Secret":
            return _Entry(document, before.resource, before.generation)
        metadata = dict(document["metadata"])
        generation = 1
        if before is not None:
            generation = before.generation + (_content(before.document) != _content(document))
        metadata["generation"] = generation
        if key[1]:
            metadata["namespace"] = key[1]
        if key[0] == "Namespace":
            metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: key[2]}
        completed = {**document, "metadata": metadata}
        if key[0] == "Secret":
            completed = _secret(completed, source.directory)
        return _Entry(document, api.parse(completed, self._kinds), generation)

    def _imply(self, run: _Pass) -> None:
        """What exists without being written: the class `fastgate`, and every namespace that an object is in."""
        names = {("Namespace", "", key[1]) for key in run.taken if key[1]}
        implied = [("GatewayClass", "", "fastgate"), *sorted(names)]
        for key in implied:
            if key in run.taken:
                continue
            before = self._entries.get(key)
            if before is not None and before.document is None:
                run.taken[key] = before
                continue
            document = IMPLICIT_CLASS
            if key[0] == "Namespace":
                document = {
                    "apiVersion": "v1",
                    "kind": "Namespace",
                    "metadata": {"name": key[2], "labels": {NAME_LABEL: key[2]}},
                }
            run.taken[key] = _Entry(None, api.parse(document), 1)


class _FileReferenceError(Exception):
    def __init__(self, message: str, where: Fields) -> None:
        super().__init__(message)
        self.where = where


def _expanded(document: Any) -> Iterable[tuple[Any, Fields]]:
    """The objects of a document: itself, or the items of a List (v1 List, or any kind that ends so and has items)."""
    if (
        isinstance(document, dict)
        and str(document.get("kind", "")).endswith("List")
        and isinstance(document.get("items"), list)
    ):
        for n, item in enumerate(document["items"]):
            yield item, ("items", n)
    else:
        yield document, ()


def _key(document: Any, refuse: Callable[..., None]) -> Key | None:
    """The identity of an object, or None after saying why it has none."""
    if not isinstance(document, dict):
        refuse(f"a resource is a mapping, not {_named(document)}")
        return None
    for field_name in ("apiVersion", "kind"):
        if not isinstance(document.get(field_name), str) or not document[field_name]:
            refuse(f"{field_name} is missing or not a string", (field_name,) if field_name in document else ())
            return None
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        refuse("metadata is missing or not a mapping", ("metadata",) if "metadata" in document else ())
        return None
    name = metadata.get("name")
    if not isinstance(name, str) or not name:
        refuse(
            "metadata.name is missing or not a string", ("metadata", "name") if "name" in metadata else ("metadata",)
        )
        return None
    namespace: Any = metadata.get("namespace") or "default"
    if not isinstance(namespace, str):
        refuse("metadata.namespace is not a string", ("metadata", "namespace"))
        return None
    return (document["kind"], "" if document["kind"] in api.CLUSTER_SCOPED else namespace, name)


def _named(value: Any) -> str:
    return {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}.get(
        type(value), "nothing"
    )


def _content(document: Any) -> Any:
    """What counts for metadata.generation: everything but metadata and status."""
    return {k: v for k, v in document.items() if k not in ("metadata", "status")} if document else None


def _secret(document: dict[str, Any], directory: Path | None) -> dict[str, Any]:
    """A Secret with stringData folded into data; `file:path` there stands for the file's bytes."""
    texts = document.get("stringData")
    if not isinstance(texts, dict):
        return document
    data = dict(document.get("data") or {})
    for name, text in texts.items():
        if not isinstance(text, str):
            return document  # the model says what is wrong
        content = text.encode()
        if text.startswith("file:"):
            where: Fields = ("stringData", name)
            if directory is None:
                raise _FileReferenceError("a file: reference needs a document that is in a file itself", where)
            path = directory / text.removeprefix("file:")
            try:
                content = path.read_bytes()
            except OSError as e:
                raise _FileReferenceError(f"{path}: {e.strerror}", where) from None
        data[name] = base64.b64encode(content).decode()
    return {**{k: v for k, v in document.items() if k != "stringData"}, "data": data}
