"""Durations in configurations of filters: written as Gateway API writes them, a `timedelta` in Python."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from fastgate.api.base import FORMS
from fastgate.durations import PATTERN, milliseconds, spelled

_MILLISECOND = timedelta(milliseconds=1)


def _read(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.fullmatch(PATTERN, value):
        raise PydanticCustomError("fastgate", f"must be {FORMS[PATTERN]}")
    return milliseconds(value) * _MILLISECOND


def _write(value: timedelta) -> str:
    return spelled(value // _MILLISECOND)


# "1h30m" in YAML, a timedelta of whole milliseconds in the filter. `Field(gt=timedelta(0))` and the like bound it.
Duration = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(_write, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
