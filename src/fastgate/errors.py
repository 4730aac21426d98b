"""What fastgate raises. Everything derives from `Error`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastgate.problems import Problem


class Error(Exception):
    """Base of every exception that fastgate raises on purpose."""


class ParseError(Error):
    """A malformed message, path or ClientHello.

    Attributes:
        code: name of the fault as the access log prints it, such as `bad_field_name`.
        status: HTTP status that the gateway answers when a client sent it.
    """

    def __init__(self, code: str, status: int, text: str) -> None:
        """Keep the fault's name and status beside its sentence."""
        super().__init__(text)
        self.code = code
        self.status = status


class ConfigurationError(Error):
    """A configuration was refused, or a part of it was.

    Attributes:
        problems: what is wrong, each with its place.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep the problems; the message has one line for each."""
        super().__init__("\n".join(map(str, problems)) or "the configuration was refused")
        self.problems = tuple(problems)


class StoppedError(Error):
    """The gateway was stopped, or not started yet."""


class StaleError(Error):
    """An object of a filter's call was used after its request had ended."""
