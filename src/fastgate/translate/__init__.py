"""From a store of resources to what they mean: the configuration, the endpoints and the statuses, in one pure pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.translate.translator import Translation, Translator

if TYPE_CHECKING:
    from fastgate.store import Store

__all__ = ["Translation", "Translator", "translate"]


def translate(store: Store) -> Translation:
    """Translate a store. Faults in it become statuses; nothing is raised for them. See `Translator` for many stores."""
    return Translator().translate(store)
