"""What fastgate raises. Everything derives from `Error`; nothing here imports another module."""

from __future__ import annotations


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
