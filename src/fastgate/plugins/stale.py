"""What becomes of a filter's objects when their request has ended: the same objects, of a class that refuses.

An object changes its class (`object.__class__ = Stale`), so that nothing is checked while the request lives.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from fastgate.errors import StaleError

T = TypeVar("T")

# What an object keeps: how it is made, and its identity.
_KEPT = frozenset(("__class_getitem__", "__getattr__", "__hash__", "__init__", "__init_subclass__", "__new__"))


def stale(cls: type[T]) -> type[T]:
    """Return a subclass of one with slots, every use of which raises StaleError."""
    message = f"this {cls.__name__} was used after its request had ended"

    def refuse(_self: object, *_: object) -> NoReturn:
        raise StaleError(message)

    def getattribute(self: object, name: str) -> Any:
        if name == "__class__":  # isinstance() may ask
            return object.__getattribute__(self, name)
        raise StaleError(message)

    members = {name: value for base in cls.__mro__ if base is not object for name, value in vars(base).items()}
    methods = {name for name, value in members.items() if name.startswith("__") and callable(value)} - _KEPT
    metaclass: Any = type(cls)
    made: type[T] = metaclass(
        f"Stale{cls.__name__}",
        (cls,),
        {
            "__slots__": (),
            "__module__": cls.__module__,
            "__doc__": message,
            **dict.fromkeys(methods, refuse),
            "__getattribute__": getattribute,
            "__setattr__": refuse,
            "__delattr__": refuse,
            "__repr__": lambda _: f"<{cls.__name__} of a request that has ended>",
        },
    )
    return made
