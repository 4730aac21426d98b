"""The steps of a configuration, ready to be applied to documents."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import jsonpath

from fastgate_transform import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastgate_transform.config import Operation, Step

    Change = Callable[[Any], Any]  # takes a document, which it may use up, and returns another

MOST_MATCHES = 100_000  # of one query


class UnfitError(ValueError):
    """The document does not have the shape that a step needs."""


class Program:
    """Steps, compiled. Applied by several threads at once."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._changes = [_change(step) for step in steps]

    def apply(self, document: Any) -> Any:
        """Return the changed document; the one given is used up. UnfitError: a step could not be done."""
        for change in self._changes:
            document = change(document)
        return document


def _change(step: Step) -> Change:
    if step.set is not None:
        return partial(_set, [str(part) for part in paths.pointer(step.set.path).parts], step.set.value)
    if step.remove is not None:
        return partial(_remove, paths.query(step.remove))
    if step.rename is not None:
        return partial(_rename, paths.query(step.rename.path), step.rename.to)
    if step.wrap is not None:
        return partial(_wrap, step.wrap)
    assert step.patch is not None  # noqa: S101 - a step is one of these
    return partial(_patch, _compiled(step.patch))


def _wrap(member: str, document: Any) -> Any:
    return {member: document}


def _set(tokens: list[str], value: Any, document: Any) -> Any:
    value = copy.deepcopy(value)  # a later step may change it, in this document only
    if not tokens:
        return value
    parent = document
    for token in tokens[:-1]:
        if isinstance(parent, dict):
            parent = parent.setdefault(token, {})
        else:
            items = _items(parent, token)
            parent = items[_index(items, token)]
    if isinstance(parent, dict):
        parent[tokens[-1]] = value
        return document
    items = _items(parent, tokens[-1])
    if tokens[-1] == "-":
        items.append(value)
    else:
        items[_index(items, tokens[-1])] = value
    return document


def _items(parent: Any, token: str) -> list[Any]:
    if not isinstance(parent, list):
        raise UnfitError(f"{token!r} cannot be set in a value that is neither an object nor an array")
    return parent


def _index(items: list[Any], token: str) -> int:
    if not token.isascii() or not token.isdecimal() or int(token) >= len(items):
        raise UnfitError(f"{token!r} is no index of an array of {len(items)}")
    return int(token)


def _remove(query: jsonpath.JSONPath, document: Any) -> Any:
    for parent, keys in _found(query, document):
        if isinstance(parent, dict):
            for key in keys:
                del parent[key]
        else:
            parent[:] = [item for index, item in enumerate(parent) if index not in keys]
    return document


def _rename(query: jsonpath.JSONPath, name: str, document: Any) -> Any:
    for parent, keys in _found(query, document):
        if not isinstance(parent, dict):
            raise UnfitError("an element of an array has no name")
        for key in keys - {name}:
            # The member keeps its place; one that has the name already goes.
            renamed = [(name if one == key else one, value) for one, value in parent.items() if one != name]
            parent.clear()
            parent.update(renamed)
    return document


def _found(query: jsonpath.JSONPath, document: Any) -> Iterator[tuple[Any, set[Any]]]:
    """What a query finds, as containers with the keys or indices of theirs that it found."""
    found: dict[int, tuple[Any, set[Any]]] = {}  # by identity of the container, which `found` keeps alive
    if isinstance(document, dict | list):  # the library would read a string as a document
        try:
            for n, match in enumerate(query.finditer(document)):
                if n == MOST_MATCHES:
                    raise UnfitError(f"{query} finds more than {MOST_MATCHES} places")
                assert match.parent is not None  # noqa: S101 - no query is "$" alone
                container: Any = match.parent.obj
                found.setdefault(id(container), (container, set()))[1].add(match.parts[-1])
        except RecursionError:
            raise UnfitError("the document is nested too deeply") from None
    yield from found.values()


def _compiled(operations: Iterable[Operation]) -> jsonpath.JSONPatch:
    return jsonpath.JSONPatch([one.model_dump(by_alias=True) for one in operations], unicode_escape=False)


def _patch(patch: jsonpath.JSONPatch, document: Any) -> Any:
    if not isinstance(document, dict | list):  # the library would read a string as a document
        raise UnfitError("the document is neither an object nor an array")
    try:
        # Its values become parts of the document, where later operations may change them: so each document has its own.
        return copy.deepcopy(patch).apply(document)
    except jsonpath.JSONPatchError as e:
        raise UnfitError(str(e)) from e
