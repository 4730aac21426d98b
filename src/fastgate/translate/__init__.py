"""From a store of resources to what they mean: the configuration, the endpoints and the statuses, in one pure pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.translate.translator import Fault, Translation, Translator

if TYPE_CHECKING:
    from fastgate.plugins.discovery import Catalog
    from fastgate.store import Store

__all__ = ["Fault", "Translation", "Translator", "translate"]


def translate(store: Store, catalog: Catalog | None = None) -> Translation:
    """Translate a store. Faults in it become statuses; nothing is raised for them. See `Translator` for many stores."""
    return Translator(catalog).translate(store)
