"""What an API server sends: lists, events, and objects in their two halves, the user's and the server's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.api.metadata import Resource
from fastgate.api.structs import decoder_of

if TYPE_CHECKING:
    from fastgate.kubernetes.kinds import Kind
    from fastgate.store import Key


class Event(msgspec.Struct, gc=False):
    """A line of a watch."""

    type: str
    object: msgspec.Raw


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """What a list says of itself."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, gc=False):
    """A part of a list."""

    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[msgspec.Raw] | None = None


class ServerMeta(msgspec.Struct, rename="camel", gc=False):
    """What an API server knows of an object."""

    name: str = ""
    namespace: str | None = None
    resource_version: str = ""
    annotations: dict[str, str] | None = None


class ServerSide(msgspec.Struct, gc=False):
    """An object, without what a user wrote; of an ERROR event the code."""

    metadata: ServerMeta = msgspec.field(default_factory=ServerMeta)
    status: msgspec.Raw = msgspec.Raw(b"null")
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the API server has it.

    Attributes:
        resource: what a user wrote; the same object for as long as it is equal.
        resource_version: that writes are based on.
        status: JSON.
        api_version: that it was read at.
    """

    resource: Any
    resource_version: str
    status: bytes = b"null"
    api_version: str = ""


event_of = msgspec.json.Decoder(Event).decode
page_of = msgspec.json.Decoder(Page).decode
server_side_of = msgspec.json.Decoder(ServerSide).decode


class Decoder:
    """Decodes objects of one kind."""

    def __init__(self, kind: Kind, version: str, *, whole: bool = False) -> None:
        """Decode what is read at this version; with `whole` also the contents of what is watched by metadata."""
        self._kind = kind
        self._api_version = kind.api_version(version)
        self._decode = decoder_of(kind.model(version) if whole or not kind.by_metadata else Resource).decode

    def key(self, server_side: ServerSide) -> Key:
        """Return the key of an object."""
        metadata = server_side.metadata
        return (self._kind.name, (metadata.namespace or "") if self._kind.namespaced else "", metadata.name)

    def stored(self, raw: msgspec.Raw, server_side: ServerSide, before: Stored | None) -> Stored:
        """Return an object. It raises msgspec.MsgspecError."""
        resource = self._decode(raw)
        if before is not None and before.resource == resource:
            resource = before.resource
        return Stored(resource, server_side.metadata.resource_version, bytes(server_side.status), self._api_version)
