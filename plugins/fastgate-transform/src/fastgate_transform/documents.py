"""JSON documents as Python values, and back, with every number as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class MalformedError(ValueError):
    """The bytes are not a JSON document (RFC 8259)."""


class Number(float):
    """A number with a fraction or an exponent: compares as a float, and is written as it was read.

    A float alone would turn 1.10 into 1.1, 0.1234567890123456789 into a neighbour, and 1e400 into no JSON at all.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """Read it."""
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: Mapping[int, Any]) -> Self:
        return self


def _written(value: Any) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"a {type(value).__name__} is no JSON value")


_decoder = msgspec.json.Decoder(float_hook=Number)
_encoder = msgspec.json.Encoder(enc_hook=_written)


def loads(data: bytes | bytearray) -> Any:
    """Return the document. MalformedError: it is none, is not UTF-8, or is nested deeper than Python goes."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise MalformedError(str(e)) from e
    except RecursionError:
        raise MalformedError("it is nested too deeply") from None


def dumps(document: Any) -> bytes:
    """Return the document as bytes, without spaces."""
    return _encoder.encode(document)
