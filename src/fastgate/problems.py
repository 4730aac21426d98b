"""What is wrong with a configuration, and where: the one form of every message about a user's files."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

Mark = tuple[int, int]  # line and column, 1-based; 0 when it is not known

MOST_TEXT = 1000  # characters of one part of a message, whatever a file holds


def shortened(text: str, most: int = 80) -> str:
    """Return the text, or its beginning when it is longer."""
    return text if len(text) <= most else text[: most - 3] + "..."


class Severity(Enum):
    """Whether a problem keeps an object from being served."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault.

    Attributes:
        message: a sentence without its final period.
        file: path as the user gave it, "" when the configuration did not come from a file.
        mark: where in the file, or what finds that out: it costs reading the document again, and most are never shown.
        object: `Kind/namespace/name`, "" when it is not known.
        field: path of the field, such as `spec.rules[0].matches[1].path`; "" for the whole object.
        severity: whether the object is refused.
    """

    message: str
    file: str = ""
    mark: Mark | Callable[[], Mark] = dataclass_field(
        default=(0, 0), repr=False
    )  # which may hold what was written there
    object: str = ""
    field: str = ""
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        """Keep what a message repeats of a file bounded."""
        for name, most in (("message", MOST_TEXT), ("object", 400), ("field", 400)):
            if len(text := getattr(self, name)) > most:
                object.__setattr__(self, name, shortened(text, most))

    @property
    def place(self) -> Mark:
        """Line and column."""
        return self.mark if isinstance(self.mark, tuple) else self.mark()

    def __str__(self) -> str:
        """Return `file:line:column: error: Kind/namespace/name: field: message`, without what is not known."""
        place = ":".join([self.file, *(str(n) for n in self.place if n)]) if self.file else ""
        return ": ".join(filter(None, [place, self.severity.value, self.object, self.field, self.message]))


def field_path(parts: tuple[str | int, ...]) -> str:
    """Return `spec.rules[0].name` for ("spec", "rules", 0, "name")."""
    out = ""
    for part in parts:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out
