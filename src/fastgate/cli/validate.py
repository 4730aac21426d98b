"""`fastgate validate`: every fault of a configuration at once."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from fastgate.output import MOST, counted, print_problems
from fastgate.plugins.discovery import Catalog
from fastgate.problems import Problem, Severity
from fastgate.sources.files import Files
from fastgate.sources.findings import problems_of
from fastgate.sources.objects import Loaded, Objects
from fastgate.translate import Translation, translate
from fastgate.translate.conditions import condition_of


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
    loaded = Objects().load(sources)
    problems += loaded.problems
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
    """Return what a translation says against its objects; what their statuses say is a warning."""
    out = problems_of(loaded, translation)
    statuses = translation.statuses
    for (namespace, name), found in statuses.filters.items():
        for index, target in enumerate(found.ancestors):
            path = ("spec", "targetRefs", index)
            out += [
                loaded.problem(("Filter", namespace, name), path, condition.message, Severity.WARNING)
                for condition in target.conditions
                if condition.reason == "TargetNotFound"
            ]
    for (namespace, name), status in statuses.http_routes.items():
        for parent in status.parents:
            out += [
                Problem(f"{c.type} is {c.status} ({c.reason}): {c.message}", object=f"HTTPRoute/{namespace}/{name}",
                        severity=Severity.WARNING)
                for c in parent.conditions
                if (c.status == "False") == (c.type in ("Accepted", "ResolvedRefs")) and c.status != "Unknown"
            ]  # fmt: skip
    for kind, objects in (("Gateway", statuses.gateways), ("ListenerSet", statuses.listener_sets)):
        for (namespace, name), owner in objects.items():
            place = f"{kind}/{namespace}/{name}"
            accepted = condition_of(owner.conditions, "Accepted")
            if accepted is not None and accepted.status == "False":
                out.append(Problem(f"Accepted is False ({accepted.reason}): {accepted.message}", object=place,
                                   severity=Severity.WARNING))  # fmt: skip
            for listener in owner.listeners:
                out += [
                    Problem(f"{c.type} is {c.status} ({c.reason}): {c.message}", object=f"{place}/{listener.name}",
                            severity=Severity.WARNING)
                    for c in listener.conditions
                    if (c.type in ("Accepted", "ResolvedRefs") and c.status == "False")
                    or (c.type == "Conflicted" and c.status == "True")
                ]  # fmt: skip
    return out
