"""How parts of documents are named: JSONPath (RFC 9535) for any number of them, JSON Pointer (RFC 6901) for one."""

from __future__ import annotations

import re

import jsonpath

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class _Environment(jsonpath.JSONPathEnvironment):
    """RFC 9535 less regular expressions, which a document could make run for hours."""

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        del self.function_extensions["match"], self.function_extensions["search"]


_environment = _Environment(strict=True)


def query(text: str) -> jsonpath.JSONPath:
    """Return a query. ValueError: it is none, or one that the filters do not take."""
    try:
        path = _environment.compile(text)
    except jsonpath.JSONPathError as e:
        raise ValueError(f"{text!r} is not a JSONPath query: {e.args[0]}") from None
    if not isinstance(path, jsonpath.JSONPath):  # unions, which are not of the RFC
        raise ValueError(f"{text!r} is not a JSONPath query")  # noqa: TRY004 - of the configuration
    if not path.segments:
        raise ValueError("$ is the whole document: name a part of it")
    if _QUOTED.sub("", text).count("..") > 1:
        raise ValueError(f"{text!r} has several '..': the time it takes would grow with the square of the document")
    return path


def pointer(text: str) -> jsonpath.JSONPointer:
    """Return a pointer. ValueError: it is none."""
    try:
        return jsonpath.JSONPointer(text, unicode_escape=False)
    except jsonpath.JSONPointerError as e:
        raise ValueError(f"{text!r} is not a JSON Pointer: {e}") from None


def checked_query(text: str) -> str:
    """Return the text of a query."""
    query(text)
    return text


def checked_pointer(text: str) -> str:
    """Return the text of a pointer."""
    pointer(text)
    return text
