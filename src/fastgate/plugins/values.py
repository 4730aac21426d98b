"""Configuration values that stand in Secrets and ConfigMaps.

A filter's model has a field of type SecretRef or ConfigMapRef; a Filter resource names the object and the key;
translation finds the references, checks and resolves them, and the filter gets the values. In canonical configurations
a resolved reference has its value, in base64, beside its name: `{"name": ..., "key": ..., "value": ...}`.
"""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from fastgate.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Self

Path = tuple["str | int", ...]

CANONICAL = {"fastgate": "canonical"}  # pydantic context: values are read and written
REDACTED = "[redacted]"


class Ref(BaseModel):
    """A key of an object of the Filter's namespace, or of another that a ReferenceGrant allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]

    name: Annotated[str, Field(min_length=1, max_length=253)]
    key: Annotated[str, Field(min_length=1, max_length=253)]
    namespace: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    _value: bytes | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, value: bytes | str) -> Self:
        """Return a reference that has this value, for tests."""
        ref = cls(name="test", key="value")
        ref._value = value.encode() if isinstance(value, str) else value
        return ref

    @property
    def raw(self) -> bytes:
        """The value as it is stored."""
        if self._value is None:
            raise Error(f"key {self.key} of {self.kind} {self.name} is not resolved: only a running filter has values")
        return self._value

    @property
    def value(self) -> str:
        """The value as text, which has to be UTF-8."""
        return self.raw.decode()

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or "value" not in data or info.context != CANONICAL:
            return handler(data)
        ref = handler({name: part for name, part in data.items() if name != "value"})
        ref._value = base64.b64decode(data["value"])  # noqa: SLF001 - of this class
        return ref

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        written: dict[str, Any] = {name: part for name, part in handler(self).items() if part is not None}
        if self._value is not None and info.context == CANONICAL:
            written["value"] = base64.b64encode(self._value).decode()
        return written


class SecretRef(Ref):
    """A key of a Secret: in YAML `{name, key, namespace?}`, in the filter `self.config.token.value`.

    Neither repr nor JSON shows the value.
    """

    kind: ClassVar[str] = "Secret"


class ConfigMapRef(Ref):
    """A key of a ConfigMap, as SecretRef."""

    kind: ClassVar[str] = "ConfigMap"


def canonical(config: BaseModel) -> dict[str, Any]:
    """Return a configuration as plain JSON values under the names of its fields, with defaults and resolved values.

    Raises:
        PydanticCustomError: the configuration itself holds a secret, which belongs in a Secret.
    """
    for path, value in _walk(config, ()):
        if isinstance(value, Ref) and "{}" in path:
            raise PydanticCustomError("fastgate", "a set has no order to resolve its references in: let it be a list")
        if isinstance(value, SecretStr | SecretBytes | Secret):
            raise PydanticCustomError(
                "fastgate",
                "{field} is a secret in a configuration that anyone may read: let it be a fastgate.SecretRef",
                {"field": ".".join(map(str, path))},
            )
    written: dict[str, Any] = config.model_dump(mode="json", by_alias=False, round_trip=True, context=CANONICAL)
    return _sorted(config, written)  # type: ignore[no-any-return] # of a dict


def load(model: type[BaseModel], config: dict[str, Any]) -> BaseModel:
    """Return the model of a canonical configuration."""
    return model.model_validate(config, by_alias=False, by_name=True, context=CANONICAL)


def references(model: type[BaseModel], config: dict[str, Any]) -> list[tuple[Path, Ref]]:
    """Return the references in a canonical configuration with their paths, in order."""
    return [(path, value) for path, value in _walk(load(model, config), ()) if isinstance(value, Ref)]


def resolve(config: dict[str, Any], values: Mapping[Path, bytes]) -> dict[str, Any]:
    """Return a canonical configuration whose references at these paths have their values."""

    def resolved(part: Any, path: Path) -> Any:
        if path in values:
            return {**part, "value": base64.b64encode(values[path]).decode()}
        return _mapped(part, path, resolved)

    out: dict[str, Any] = resolved(config, ())
    return out


def redacted(config: str) -> str:
    """Return a canonical configuration in JSON, for eyes: no resolved value is in it."""

    def hidden(part: Any, path: Path) -> Any:
        if isinstance(part, dict) and {"name", "key", "value"} <= part.keys() <= {"name", "key", "namespace", "value"}:
            return {**part, "value": REDACTED}
        return _mapped(part, path, hidden)

    return json.dumps(hidden(json.loads(config), ()), separators=(",", ":"), sort_keys=True)


def _mapped(part: Any, path: Path, change: Callable[[Any, Path], Any]) -> Any:
    if isinstance(part, dict):
        return {name: change(value, (*path, name)) for name, value in part.items()}
    if isinstance(part, list):
        return [change(value, (*path, index)) for index, value in enumerate(part)]
    return part


def _sorted(value: Any, written: Any) -> Any:
    """What was written of a value, with the items of sets in an order that does not depend on their hashes."""
    if isinstance(value, RootModel):
        return _sorted(value.root, written)
    if isinstance(written, dict):
        if isinstance(value, dict):
            return {name: _sorted(one, part) for one, (name, part) in zip(value.values(), written.items(), strict=True)}
        return {name: _sorted(getattr(value, name, None), part) for name, part in written.items()}
    if not isinstance(written, list) or not isinstance(value, list | tuple | set | frozenset):
        return written
    items = [_sorted(one, part) for one, part in zip(value, written, strict=True)]
    if isinstance(value, set | frozenset):
        items.sort(key=partial(json.dumps, sort_keys=True))
    return items


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every value in a configuration that is no container, and every reference."""
    if isinstance(value, BaseModel) and not isinstance(value, Ref):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), (*path, name))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _walk(part, (*path, name))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _walk(part, (*path, index))
    elif isinstance(value, set | frozenset):
        for part in value:
            yield from _walk(part, (*path, "{}"))
    else:
        yield path, value
