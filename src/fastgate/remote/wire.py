"""Messages between a controller and a data plane, in msgpack, one to a frame of a WebSocket.

    data plane                          controller
      Hello  ------------------------->
             <-------------------------  Update (whole)
      Report ------------------------->
             <-------------------------  Update (against the last one), once it is reported on
      Report ------------------------->  whenever what became of the sockets changes, too

An Update has what changed between two Shares. A sequence changes by the positions that are gone, of before, and the
items that are new, at their positions of after.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from fastgate.ir import (
    Action,
    Authorities,
    Cluster,
    Endpoint,
    Forward,
    KeyPair,
    Listener,
    Redirect,
    Respond,
    Socket,
    VirtualHost,
)

PROTOCOL = 1  # both sides speak it, or do not speak
PATH = "/v1/data-plane"
SERVER_NAME = "fastgate-controller"  # that controllers' certificates are for
MAX_HELLO, MAX_UPDATE = 1 << 20, 1 << 30  # bytes

T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """What a data plane is: the first message of a connection, and again when it knows more of itself.

    Attributes:
        protocol: that it speaks.
        version: of fastgate.
        name: of its Pod, for people.
        revision: of the Share that it serves; 0: none.
        filters: by the type of a filter that is installed, the hash of its configuration's schema.
    """

    protocol: int
    version: str
    name: str
    revision: int = 0
    filters: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """What became of an Update.

    Attributes:
        revision: of the Update.
        error: why it is not served; "": it is.
        sockets: by `Socket.key` of what is served, the error that keeps it from being bound; "": it is bound.
        is_held: it is older than what is served, and kept for later.
    """

    revision: int
    error: str = ""
    sockets: dict[str, str] = {}
    is_held: bool = False


class Changes(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """How a sequence differs from another one."""

    gone: tuple[int, ...] = ()
    put: tuple[tuple[int, T], ...] = ()


class ListenerChange(msgspec.Struct, frozen=True, array_like=True):
    """A listener that is new, or another one.

    Attributes:
        at: its position.
        head: all of it but its virtual hosts.
        source: position of the listener whose virtual hosts it changes, in what its socket was before; -1: none.
        hosts: how they differ from those.
    """

    at: int
    head: Listener
    source: int
    hosts: Changes[VirtualHost]


class SocketChange(msgspec.Struct, frozen=True, array_like=True):
    """A socket that is new, or another one: likewise, with listeners in the place of virtual hosts."""

    at: int
    head: Socket
    source: int
    gone: tuple[int, ...]
    listeners: tuple[ListenerChange, ...]


class Update(msgspec.Struct, frozen=True, array_like=True, tag="update"):
    """How a Share differs from the one of revision `base`; from one that is empty, if that is 0."""

    revision: int
    base: int
    sockets_gone: tuple[int, ...] = ()
    sockets: tuple[SocketChange, ...] = ()
    clusters: Changes[Cluster] = Changes()
    key_pairs: Changes[KeyPair] = Changes()
    authorities: Changes[Authorities] = Changes()
    endpoints_gone: tuple[str, ...] = ()
    endpoints: dict[str, tuple[Endpoint, ...]] = {}
    names_gone: tuple[str, ...] = ()
    names: dict[str, tuple[Endpoint, ...]] = {}


class WireError(Exception):
    """A message is malformed, or does not fit what it is for."""


_ACTIONS: dict[str, type[Action]] = {"backends": Forward, "scheme": Redirect, "reason": Respond}  # fields of no other


def _action(type_: Any, value: Any) -> Any:
    """Read what the one field of several types stands for."""
    if type_ is not Action or not isinstance(value, dict):
        raise ValueError(f"{type_} is not expected")
    kind = next((kind for field, kind in _ACTIONS.items() if field in value), None)
    if kind is None:
        raise ValueError("no action has such fields")
    return msgspec.convert(value, kind)


_encoder = msgspec.msgpack.Encoder()
_of_data_planes = msgspec.msgpack.Decoder(Hello | Report)
_of_controllers = msgspec.msgpack.Decoder(Update, dec_hook=_action)


def encode(message: Hello | Report | Update) -> bytes:
    """Return a message as bytes."""
    return _encoder.encode(message)


def from_data_plane(data: bytes) -> Hello | Report:
    """Read what a data plane sent. WireError: it is no such message."""
    try:
        message: Hello | Report = _of_data_planes.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise WireError(str(e)) from None
    return message


def from_controller(data: bytes) -> Update:
    """Read what a controller sent. WireError: it is no such message."""
    try:
        return _of_controllers.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise WireError(str(e)) from None
