"""What a translation says against the objects that users wrote, at the place where they wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastgate.problems import Problem, Severity

if TYPE_CHECKING:
    from fastgate.sources.objects import Loaded
    from fastgate.translate import Translation

# Faults that nothing but the object itself can put right. The others may be gone when something else is there.
_ERRORS = frozenset(("InvalidConfiguration", "UnsupportedValue"))


def problems_of(loaded: Loaded, translation: Translation) -> list[Problem]:
    """Return the warnings and the faulty fields of a translation."""
    out = [Problem(message, object=name, severity=Severity.WARNING) for name, message in translation.warnings]
    for fault in translation.faults:
        severity = Severity.ERROR if fault.reason in _ERRORS else Severity.WARNING
        out.append(loaded.problem(fault.key, fault.path, fault.message, severity))
    return out
