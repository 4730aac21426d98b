"""Header and trailer fields as filters see them: a case-insensitive multi-dict that notes what is done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast, overload

from fastgate.core import calls
from fastgate.grammar import FRAMING, NO_FIELD_VALUE, RESERVED, TOKEN
from fastgate.plugins.stale import stale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

D = TypeVar("D")

# One edit of a message: of a field ("set", name, value), ("add", name, value), ("remove", name, ""); of something else
# ("path", "", value), ("query", ...), ("authority", ...), ("status", ...), ("body", "", bytes).
Edit = tuple[str, str, "str | bytes"]

_SECRET = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))  # not shown by repr()
_SEPARATORS = {"cookie": "; "}  # RFC 9113 section 8.2.3; every other list is joined by RFC 9110 section 5.3
_MOST_KNOWN = 1024
_MISSING = object()


class Names:
    """Which fields may be edited.

    Attributes:
        known: spellings that may, as plain strings. Emptied when it grows: a filter could make names up.
    """

    __slots__ = ("_read_only", "_reserved", "known")

    def __init__(self, reserved: frozenset[str], *, read_only: str = "") -> None:
        """Allow every token but the reserved names, in lower case; nothing when `read_only` says why."""
        self.known: dict[str, str] = {}
        self._reserved = reserved
        self._read_only = read_only

    def admit(self, name: object) -> str:
        """Take a name into `known` and return it, or raise what is wrong with it."""
        name = checked_name(name)
        if self._read_only:
            raise ValueError(self._read_only)
        if name.lower() == "host" and "host" in self._reserved:
            raise ValueError("field host cannot be edited: assign request.authority")
        if name.lower() in self._reserved:
            raise ValueError(f"field {name} frames the message or belongs to the connection and cannot be edited")
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[name] = name
        return name


OF_REQUEST = Names(RESERVED)
OF_RESPONSE = Names(FRAMING)
OF_TRAILERS = Names(frozenset(), read_only="trailer fields cannot be edited")


def checked_name(name: object) -> str:
    """Return a field name, or raise (RFC 9110 section 5.1)."""
    if not isinstance(name, str):
        raise TypeError(f"a field name is a str, not {type(name).__name__}")
    if not TOKEN.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is not a field name: that is a token of letters, digits and !#$%&'*+-.^_`|~")
    return str.__str__(name)


def checked_value(name: str, value: object) -> str:
    """Return the value as it is sent, or raise (RFC 9110 section 5.5)."""
    if not isinstance(value, str):
        raise TypeError(f"the value of field {name} is a str, not {type(value).__name__}")
    if found := NO_FIELD_VALUE.search(value):
        raise ValueError(f"the value of field {name} has the control character {found[0]!r}")
    if not value.isascii() and max(value) > "\xff":
        raise ValueError(f"the value of field {name} has {max(value)!r}: fields are latin-1, percent-encode the others")
    return str.__str__(value.strip(" \t"))


class Headers(calls.HeadersBase):
    """Fields of a message: names in any case, values as latin-1 strings, in their order.

    `headers[name]` is a field's value; several of one name are joined as RFC 9110 section 5.3 allows, those of Cookie
    by "; ". Set-Cookie is never joined: `headers["set-cookie"]` is the first, `getall` has each. Assigning takes the
    place of all of that name, `add` puts one more beside them, `del` removes them and is no error when there are none.
    Iteration and `len` are over names, each once; `items` has every field.

    A name that is no token, a value with a control character, and a field that frames the message or belongs to the
    connection are a ValueError where they are assigned. Spaces around a value are dropped: they are no part of it.

    Attributes:
        journal: the edits, in order. Only appended to.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment] # mutable

    def __init__(
        self,
        fields: Mapping[str, str] | Iterable[tuple[str, str]] | Callable[[], Iterable[tuple[str, str]]] = (),
        *,
        names: Names = OF_RESPONSE,
        journal: list[Edit] | None = None,
        made: bool = False,
    ) -> None:
        """Hold these fields.

        Args:
            fields: a mapping or pairs, which are checked; or what returns pairs when they are needed, trusted ones.
            names: which may be edited.
            journal: edits to start with and to append to.
            made: the fields are a filter's own, and may only be such as may be edited.
        """
        self._names = names
        self.journal = [] if journal is None else journal
        if callable(fields):
            self._load = fields
        else:
            self._fields = [_checked(name, value) for name, value in pairs(fields)]
            if made:
                for _, name, _ in self._fields:
                    names.admit(name)

    # --- edits, beside those of the base ----------------------------------------------------------------------------

    def update(self, fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        """Set each of these fields."""
        for name, value in pairs(fields):
            self[name] = value

    def setdefault(self, name: str, value: str) -> str:
        """Return the value of a field, which is set to this one when there is none."""
        if name not in self:
            self[name] = value
        return self[name]

    @overload
    def pop(self, name: str) -> str: ...
    @overload
    def pop(self, name: str, default: D) -> str | D: ...
    def pop(self, name: str, default: object = _MISSING) -> object:
        """Remove a field and return its value; without one the default, or KeyError."""
        if name in self:
            value = self[name]
            del self[name]
            return value
        if default is _MISSING:
            raise KeyError(name)
        return default

    # --- reading -----------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> str:
        values = self.getall(name)
        if len(values) == 1:
            return values[0]
        if not values:
            raise KeyError(name)
        key = name.lower()
        return values[0] if key == "set-cookie" else _SEPARATORS.get(key, ", ").join(values)

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: D) -> str | D: ...
    def get(self, name: str, default: object = None) -> object:
        """Return `headers[name]`, or the default when there is none."""
        return self[name] if self.getall(name) else default

    def getall(self, name: str) -> list[str]:
        """Return the values of all fields of a name, in their order; none is an empty list."""
        if not isinstance(name, str):
            raise TypeError(f"a field name is a str, not {type(name).__name__}")
        key = name.lower()
        return [value for lower, _, value in self._read() if lower == key]

    def items(self) -> list[tuple[str, str]]:
        """Return every field, with its name as it is spelt."""
        return [(name, value) for _, name, value in self._read()]

    def keys(self) -> list[str]:
        """Return the names, in lower case, each once; `dict(headers)` has them with their joined values."""
        return list(dict.fromkeys(lower for lower, _, _ in self._read()))

    @property
    def raw(self) -> tuple[tuple[bytes, bytes], ...]:
        """Every field as bytes, its name as it is spelt."""
        return tuple((name.encode("latin-1"), value.encode("latin-1")) for _, name, value in self._read())

    def copy(self) -> Headers:
        """Return a copy, whose edits are its own."""
        copy = Headers(names=self._names)
        copy._fields = list(self._read())
        return copy

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.getall(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len({lower for lower, _, _ in self._read()})

    def __eq__(self, other: object) -> bool:
        """Whether the other, also a dict, has the same values of the same names, each name's in the same order."""
        if isinstance(other, dict):
            try:
                other = Headers(other)
            except (TypeError, ValueError):
                return False
        if not isinstance(other, Headers):
            return NotImplemented
        return self._by_name() == other._by_name()

    def __repr__(self) -> str:
        shown = [(name, "[redacted]" if lower in _SECRET else value) for lower, name, value in self._read()]
        return f"Headers({shown!r})"

    # --- inside ------------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        """Refuse every further use, and let go of what the fields are read from."""
        self._fields = self._load = None
        self.journal = []
        self.__class__ = _Stale

    def _by_name(self) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {}
        for lower, _, value in self._read():
            out.setdefault(lower, []).append(value)
        return out

    def _read(self) -> list[tuple[str, str, str]]:
        """The fields as they are after all edits."""
        fields = self._fields
        if fields is None:
            loaded = self._load() if self._load is not None else ()
            fields = self._fields = [(name.lower(), name, value) for name, value in loaded]
        if self._applied != len(self.journal):
            self._replay(fields)
        return fields

    def _replay(self, fields: list[tuple[str, str, str]]) -> None:
        for op, name, value in self.journal[self._applied :]:
            lower = name.lower()
            match op:
                case "set":
                    at = next((n for n, field in enumerate(fields) if field[0] == lower), len(fields))
                    fields[at:] = [(lower, name, cast("str", value)), *(f for f in fields[at:] if f[0] != lower)]
                case "add":
                    fields.append((lower, name, cast("str", value)))
                case "remove":
                    fields[:] = [field for field in fields if field[0] != lower]
        self._applied = len(self.journal)


_Stale = stale(Headers)


def pairs(fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Return the fields of a mapping, or the pairs themselves."""
    items = getattr(fields, "items", None)
    return items() if callable(items) else fields  # type: ignore[return-value]


def _checked(name: str, value: str) -> tuple[str, str, str]:
    name = checked_name(name)
    return name.lower(), name, checked_value(name, value)
