"""`fastgate validate`: every fault of a configuration at once."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from fastgate.output import MOST, counted, print_problems
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.manager import Hooks
from fastgate.problems import Problem, Severity
from fastgate.sources.files import Files
from fastgate.sources.findings import problems_of
from fastgate.sources.objects import Loaded, Objects
from fastgate.translate import Translation, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastgate.sources.objects import Fields
    from fastgate.store import Key
    from fastgate.translate.conditions import Condition, ParentStatus, Statuses


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Files and directories of YAML or JSON.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print problems as JSON, one object a line.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check files without serving them.

    Prints every problem with its file, line, column and field; exits 1 when there is an error.

    Example: fastgate validate gateway.yaml routes/
    """
    sources, problems = Files(paths).read()
    hooks = Hooks()
    loaded = Objects(hooks.kinds).load(sources)
    problems += [*hooks.problems, *loaded.problems]
    problems += findings(loaded, translate(loaded.store, Catalog()))
    problems.sort(key=lambda p: p.file)  # those of a file come in the order of its documents
    errors = sum(p.severity is Severity.ERROR or strict for p in problems)
    if as_json:
        for p in in_order(problems):
            line, column = p.place
            print(json.dumps({
                "severity": p.severity.value, "file": p.file, "line": line, "column": column, "object": p.object,
                "field": p.field, "message": p.message,
            }))  # fmt: skip
    else:
        print_problems([*in_order(problems[:MOST]), *problems[MOST:]])
        warnings = len(problems) - errors
        summary = f"{counted(loaded.given, 'object')}: {counted(errors, 'error')}, {counted(warnings, 'warning')}"
        print(summary, file=sys.stderr)
    raise typer.Exit(1 if errors else 0)


def in_order(problems: list[Problem]) -> list[Problem]:
    """Find out the places of problems, and sort by them."""
    return sorted((replace(p, mark=p.place) for p in problems), key=lambda p: (p.file, p.place))


def findings(loaded: Loaded, translation: Translation) -> list[Problem]:
    """Return what a translation says against its objects; what their statuses say is a warning.

    Of a listener that is what no fault of one of its fields has said.
    """
    out = problems_of(loaded, translation)
    statuses = translation.statuses
    told = {(fault.key, fault.path[:3], fault.reason) for fault in translation.faults}

    def warn(key: Key, path: Fields, conditions: Iterable[Condition]) -> None:
        out.extend(
            loaded.problem(key, path, f"{c.type} is {c.status} ({c.reason}): {c.message}", Severity.WARNING)
            for c in conditions
            if _is_bad(c)
        )

    for name, found in statuses.filters.items():  # whether they are accepted themselves is among the faults
        for index, target in enumerate(found.ancestors):
            missing = [c for c in target.conditions if c.reason == "TargetNotFound"]
            warn(("Filter", *name), ("spec", "targetRefs", index), missing)
    for key, entry in _entries(statuses):
        warn(key, (), entry.conditions)
    for kind, objects in (("Gateway", statuses.gateways), ("ListenerSet", statuses.listener_sets)):
        for name, owner in objects.items():
            warn((kind, *name), (), owner.conditions)
            for index, listener in enumerate(owner.listeners):
                key, path = (kind, *name), ("spec", "listeners", index)
                warn(key, path, [c for c in listener.conditions if (key, path, c.reason) not in told])
    return out


def _entries(statuses: Statuses) -> Iterator[tuple[Key, ParentStatus]]:
    """What became of routes at their parents and of policies at their Gateways."""
    for key, route in statuses.routes.items():
        for parent in route.parents:
            yield key, parent
    for name, policy in statuses.backend_tls_policies.items():
        for ancestor in policy.ancestors:
            yield ("BackendTLSPolicy", *name), ancestor


def _is_bad(condition: Condition) -> bool:
    """Whether a condition that a translation decides is against its object."""
    if condition.type in ("Conflicted", "PartiallyInvalid"):
        return condition.status == "True"
    return condition.type in ("Accepted", "ResolvedRefs") and condition.status == "False"
