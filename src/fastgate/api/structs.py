"""Resources that an API server has validated, decoded fast: structures made of the models, with the same attributes.

What reads a resource cannot tell the two apart. A structure takes what it is given (a newer API may know more values),
knows no rules, and compares by value. What an API server counts (`resourceVersion`, `managedFields`) is no part of it.
"""

from __future__ import annotations

import types
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from annotated_types import MinLen
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from fastgate import durations
from fastgate.api.metadata import Metadata

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_NOT_IN_LISTS = ("api_version", "kind")  # of resources of Kubernetes itself
_NOT_OF_THE_USER = frozenset(("resource_version", "managed_fields", "self_link", "generate_name"))


@cache
def struct_of(model: type[BaseModel]) -> type[msgspec.Struct]:
    """Return the structure of a model. A field that is required is there; of others, null and none are the default."""
    model.model_rebuild()
    fields: list[Any] = []
    names = {}
    for name, field in model.model_fields.items():
        if model is Metadata and name in _NOT_OF_THE_USER:
            continue
        names[name] = field.alias or to_camel(name)
        type_ = _limited(_type_of(field.annotation), field.metadata)
        if field.is_required() and name not in _NOT_IN_LISTS:
            fields.append((name, type_))
        else:
            fields.append((name, type_ | None, _default_of(field)))
    return msgspec.defstruct(model.__name__, fields, rename=names, frozen=True, gc=False, kw_only=True, module=__name__)


@cache
def decoder_of(model: type[BaseModel]) -> msgspec.json.Decoder[Any]:
    """Return what decodes one resource of a model's kind. It raises msgspec.MsgspecError."""
    return msgspec.json.Decoder(struct_of(model))


def _type_of(annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return struct_of(annotation)
    if origin is Annotated:
        return _limited(_type_of(arguments[0]), [m for each in arguments[1:] for m in getattr(each, "metadata", ())])
    if origin is Literal:
        return type(arguments[0])
    if origin in (Union, types.UnionType):
        return reduce(or_, map(_type_of, arguments))
    if origin in (list, dict):
        return origin[tuple(map(_type_of, arguments))]
    return Any if isinstance(annotation, TypeAliasType) else annotation


def _limited(type_: Any, metadata: list[Any]) -> Any:
    """What is relied on is checked here, too: lists whose first item is taken have one, and durations are some."""
    least = next((each.min_length for each in metadata if isinstance(each, MinLen)), 0)
    if least and get_origin(type_) is list:
        return Annotated[type_, msgspec.Meta(min_length=least)]
    if any(getattr(each, "pattern", None) == durations.PATTERN for each in metadata):
        return Annotated[type_, msgspec.Meta(pattern=durations.PATTERN)]
    return type_


def _default_of(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel | list | dict):
        return msgspec.field(default_factory=lambda: _converted(default))
    return default


def _converted(value: Any) -> Any:
    """A default of a model as structures."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        struct = struct_of(type(value))
        return struct(**{name: _converted(getattr(value, name)) for name in fields if name in struct.__struct_fields__})
    if isinstance(value, dict):
        return dict(value)
    return [_converted(item) for item in value] if isinstance(value, list) else value
