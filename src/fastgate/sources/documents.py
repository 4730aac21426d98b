"""YAML text to documents, as the API server's clients read it: YAML 1.1, no duplicate keys, nothing that explodes.

Built from libyaml's events rather than by PyYAML's constructors: those turn dates into objects, let a repeated key win
silently, recurse as deep as the text nests, and take twice the time.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from fastgate.problems import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastgate.problems import Mark

MAX_BYTES = 64 * 1024 * 1024  # of one file
MAX_NODES = 10_000_000  # of one file, aliases expanded
MAX_DEPTH = 100

Path = tuple[str | int, ...]

_CONSTANTS: dict[str, object] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"), True)
_CONSTANTS |= dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"), False)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_OTHER_INTEGER = re.compile(r"([-+]?)0([xX][0-9a-fA-F_]+|[bB][01_]+|[oO]?[0-7_]+)")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_BASES = {"x": 16, "b": 2, "o": 8}
_MANY_DIGITS = 70  # no integer of 64 bits has as many, in any base
_WHOLE = 1e21  # reals from here on are written with an exponent
_MAY_BE_NUMBER = frozenset("0123456789+-.")


class YamlError(Exception):
    """The text is not YAML that can be read. `mark` is where, (0, 0) when that is not known."""

    def __init__(self, message: str, mark: Mark = (0, 0)) -> None:
        """Keep the place beside the sentence."""
        super().__init__(message)
        self.mark = mark


@dataclass(slots=True)
class Document:
    """One document of a file: its value, the line it starts at, and, when asked for, where each field stands."""

    value: Any
    line: int
    marks: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """Return where a field stands, or the nearest field around it that is there."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return (self.line, 1)


def scalar(text: str) -> Any:
    """Return the value of a plain scalar (YAML 1.1, without its dates and sexagesimal numbers), as JSON has it.

    Raises:
        ValueError: it is a number that JSON does not have.
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in _MAY_BE_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        digits = text.replace("_", "")
        return _limited(int(digits)) if len(digits) < _MANY_DIGITS else _real(digits, text)
    if (m := _OTHER_INTEGER.fullmatch(text)) is not None:
        digits, base = m[2].replace("_", ""), 8
        if digits[:1].lower() in _BASES:
            base = _BASES[digits[0].lower()]
            digits = digits[1:]
        value = int(m[1] + digits, base) if 0 < len(digits) <= _MANY_DIGITS else 1 << 64
        return value if abs(value) < 1 << 64 else text
    if _FLOAT.fullmatch(text):
        return _real(text.replace("_", ""), text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that JSON has")
    return text


def _real(digits: str, text: str) -> int | float | str:
    """A decimal number; a whole one is an integer, and one that is too large is no number."""
    value = float(digits)
    if math.isinf(value):
        return text
    return int(value) if value.is_integer() and abs(value) < _WHOLE else value


def _limited(value: int) -> int | float:
    """An integer of more than 64 bits is a real number."""
    return value if -(1 << 63) <= value < 1 << 64 else float(value)


_STARTS = frozenset((yaml.MappingStartEvent, yaml.SequenceStartEvent))
_ENDS = frozenset((yaml.MappingEndEvent, yaml.SequenceEndEvent))


class _Builder:
    """Builds documents from events with a stack of open collections, never by recursion."""

    def __init__(self, text: str, *, with_marks: bool) -> None:
        self.text = text
        self.loader: Any = None
        self.with_marks = with_marks
        self.nodes = 0
        self.anchors: dict[str, tuple[Any, int]] = {}  # value, nodes in it

    def documents(self) -> Iterator[Document]:
        try:
            self.loader = yaml.CSafeLoader(self.text)
            while (event := self.loader.get_event()) is not None:
                if isinstance(event, yaml.DocumentStartEvent):
                    yield self.document(_mark(event)[0])
        except yaml.MarkedYAMLError as e:
            marks: list[Any] = [m for m in (e.problem_mark, e.context_mark) if m is not None]
            place = (marks[0].line + 1, marks[0].column + 1) if marks else (0, 0)
            raise YamlError(" ".join(filter(None, [e.context, e.problem])) or "not YAML", place) from None
        except yaml.reader.ReaderError as e:
            raise YamlError(
                f"character U+{e.character:04X} is not allowed in YAML", _place(self.text, e.position)
            ) from None
        except yaml.YAMLError as e:
            raise YamlError(str(e).replace("\n", " ")) from None
        except UnicodeError as e:  # a lone surrogate
            raise YamlError(f"not YAML: {e}") from None
        finally:
            if self.loader is not None:
                self.loader.dispose()

    def document(self, line: int) -> Document:
        out = Document(None, line)
        self.anchors = {}
        stack: list[_Open] = []
        while type(event := self.loader.get_event()) is not yaml.DocumentEndEvent:
            kind = type(event)
            if kind in _STARTS:
                if self.with_marks:
                    out.marks.setdefault(_path(stack), _mark(event))
                stack.append(self.opened(event, len(stack)))
                continue
            value = self.closed(stack.pop()) if kind in _ENDS else self.leaf(event)
            if stack:
                stack[-1].take(value, event)
            else:
                out.value = value
            if self.with_marks and kind not in _ENDS:
                out.marks[_path(stack, back=True)] = _mark(event)
        return out

    def opened(self, event: Any, depth: int) -> _Open:
        if depth == MAX_DEPTH:
            raise YamlError(f"more than {MAX_DEPTH} collections inside one another", _mark(event))
        return _Open({} if type(event) is yaml.MappingStartEvent else [], event.anchor, self.nodes)

    def closed(self, done: _Open) -> Any:
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, self.nodes - done.before + 1)
        return done.value

    def leaf(self, event: Any) -> Any:
        """The value of a scalar, or of what an alias stands for; counts its nodes."""
        if type(event) is yaml.AliasEvent:
            if event.anchor not in self.anchors:
                raise YamlError(
                    "an alias with no anchor before it; a value that starts with * needs quotes", _mark(event)
                )
            value, size = self.anchors[event.anchor]
        else:
            try:
                value = scalar(event.value) if event.implicit[0] and event.tag is None else _tagged(event)
            except ValueError as e:
                raise YamlError(str(e), _mark(event)) from None
            size = 1
            if event.anchor is not None:
                self.anchors[event.anchor] = (value, size)
        self.nodes += size
        if self.nodes > MAX_NODES:
            raise YamlError(f"the file has more than {MAX_NODES} nodes, aliases expanded", _mark(event))
        return value


class _Open:
    """A collection that is being read."""

    __slots__ = ("anchor", "before", "key", "merged", "value", "waits")

    def __init__(self, value: Any, anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before
        self.key: Any = None
        self.waits = False  # for the value of `key`
        self.merged: set[str] = set()  # keys that came by "<<" and may be given here

    def take(self, item: Any, event: Any) -> None:
        if type(self.value) is list:
            self.value.append(item)
        elif self.waits:
            self.waits = False
            if self.key == "<<":
                self.merge(item, event)
            else:
                self.value[self.key] = item
        else:
            if type(item) is bool:  # JSON has string keys only
                item = "true" if item else "false"
            elif type(item) is not str:
                if isinstance(item, dict | list) or item is None:
                    raise YamlError("a key must be a string", _mark(event))
                item = str(item)
            if item in self.value:
                if item not in self.merged:
                    raise YamlError(f"key {shortened(item)!r} is given twice", _mark(event))
                self.merged.discard(item)
            self.key = item
            self.waits = True

    def merge(self, item: Any, event: Any) -> None:
        for source in item if isinstance(item, list) else [item]:
            if not isinstance(source, dict):
                raise YamlError("only mappings can be merged", _mark(event))
            for key, value in source.items():
                if key not in self.value:
                    self.value[key] = value
                    self.merged.add(key)


def _path(stack: list[_Open], *, back: bool = False) -> Path:
    """The path of the value that comes next, or, with `back`, of the one that was just taken."""
    out: list[str | int] = []
    for n, level in enumerate(stack):
        if type(level.value) is list:
            out.append(len(level.value) - (1 if back and n == len(stack) - 1 else 0))
        else:
            out.append(level.key if level.key is not None else "")
    return tuple(out)


def _place(text: str, position: int) -> Mark:
    """Line and column of a byte of the text in UTF-8."""
    before = text.encode(errors="surrogatepass")[:position].decode(errors="replace")
    return (before.count("\n") + 1, len(before) - before.rfind("\n"))


def _mark(event: Any) -> Mark:
    return (event.start_mark.line + 1, event.start_mark.column + 1)


def _tagged(event: Any) -> Any:
    """A quoted scalar, or one with a tag. Messages repeat no value, here and for aliases: it may be of a Secret."""
    tag = event.tag
    if tag in (None, "!", "tag:yaml.org,2002:str"):
        return event.value
    if tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"):
        value = scalar(event.value) if event.value else None
        if type(value) is str:
            raise ValueError(f"a value that is not what its tag {tag} says")
        return value
    raise YamlError("a tag that is not supported; a value that starts with ! needs quotes", _mark(event))


def parse(text: str, *, with_marks: bool = False) -> list[Document]:
    """Parse YAML (of which JSON is a part) into its documents; empty ones are left out.

    Args:
        text: the file.
        with_marks: also keep where each field stands, at twice the cost.

    Raises:
        YamlError: it is not YAML, has a duplicate key, or is too deep or too large with its aliases expanded.
    """
    return [d for d in _Builder(text, with_marks=with_marks).documents() if d.value is not None]
