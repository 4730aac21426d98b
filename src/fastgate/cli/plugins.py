"""`fastgate plugins`: what is installed, what is wrong with it, where it is used, and the beginning of a new one."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgate.output import print_problems, print_table
from fastgate.plugins.discovery import Catalog, FilterType
from fastgate.plugins.filter import Phase
from fastgate.plugins.manager import Hooks
from fastgate.plugins.scaffold import NameTakenError, write
from fastgate.plugins.version import PLUGIN_API
from fastgate.problems import Problem, Severity
from fastgate.sources.files import Files
from fastgate.sources.objects import Objects

if TYPE_CHECKING:
    from fastgate.store import Store

app = typer.Typer(
    help="List the plugins that are installed, and begin a new one.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def plugins(
    context: typer.Context,
    *,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="File or directory of YAML that uses filters; may be given again."),
    ] = None,
    used: Annotated[bool, typer.Option("--used", help="Only filters that the files use.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, with schemas of configurations.")
    ] = False,
) -> None:
    """List the filters that are installed, where files use them, the hooks that plugins implement, and what is wrong.

    Every filter is imported for it. Exits 1 when one cannot be used.

    Example: fastgate plugins --used -f routes/
    """
    if context.invoked_subcommand is not None:
        return
    if used and not files:
        print("fastgate plugins: --used needs --file", file=sys.stderr)
        raise typer.Exit(2)
    problems: list[Problem] = []
    users: dict[str, list[str]] = {}
    catalog, hooks = Catalog(), Hooks()
    if files:
        sources, wrong = Files(files).read()
        loaded = Objects(hooks.kinds).load(sources)
        problems += [*wrong, *loaded.problems]
        users = _users(loaded.store)
    filters = [_filter(catalog, name, users) for name in catalog.names()]
    filters = [one for one in filters if one["usedBy"] or not used]
    faults = [Problem(one["problem"], object=f"filter {one['type']}") for one in filters if one["problem"]]
    faults += hooks.problems
    if as_json:
        print(json.dumps({
            "pluginApi": ".".join(map(str, PLUGIN_API)),
            "filters": filters,
            "hooks": [{"distribution": plugin.name, "hooks": plugin.hooks} for plugin in hooks.plugins],
            "problems": [str(problem) for problem in (*problems, *faults)],
        }, indent=2))  # fmt: skip
    else:
        _print(filters, hooks, with_users=bool(files))
        print_problems([*problems, *faults])
    failed = faults or any(problem.severity is Severity.ERROR for problem in problems)
    raise typer.Exit(1 if failed else 0)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the distribution, such as stamp-header.")],
    *,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Where to; by default a new folder of that name.")
    ] = None,
) -> None:
    """Write a filter's package: typed, with a test, an example and instructions. Nothing is ever overwritten.

    Example: fastgate plugins new stamp-header
    """
    try:
        written = write(name, directory)
    except ValueError as e:
        print(f"fastgate plugins new: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
    except (NameTakenError, OSError) as e:
        print(f"fastgate plugins new: {e}", file=sys.stderr)
        raise typer.Exit(1) from None
    for path in written:
        print(path)
    print(f"\nNext: cd {written[0].parent} && pip install -e '.[test]' && pytest", file=sys.stderr)


def _filter(catalog: Catalog, name: str, users: dict[str, list[str]]) -> dict[str, Any]:
    """What there is to say about a filter."""
    point = next(one for one in catalog.installed() if name in (one.name, f"{one.distribution}/{one.name}"))
    said: dict[str, Any] = {
        "type": name,
        "distribution": point.distribution,
        "version": point.version,
        "class": point.value,
        "usedBy": sorted({*users.get(point.name, ()), *users.get(f"{point.distribution}/{point.name}", ())}),
        "problem": None,
    }
    found = catalog.check(name)
    if not isinstance(found, FilterType):
        return {**said, "problem": found.message}
    return {
        **said,
        "phases": [phase.value for phase in Phase if phase.value in found.phases],
        "async": found.cls.is_async(),
        "bufferBody": found.buffer_body,
        "schema": found.config_model.model_json_schema(),
    }


def _print(filters: list[dict[str, Any]], hooks: Hooks, *, with_users: bool) -> None:
    head = ["FILTER", "DISTRIBUTION", "VERSION", "PHASES", *(["USED BY"] if with_users else [])]
    rows = [
        [
            one["type"],
            one["distribution"],
            one["version"],
            ", ".join(one.get("phases", ["unusable"])),
            *([", ".join(one["usedBy"])] if with_users else []),
        ]
        for one in filters
    ]
    if rows:
        print_table(head, rows)
    else:
        print("no filter is installed; `fastgate plugins new NAME` begins one", file=sys.stderr)
    if hooks.plugins:
        print()
        print_table(["PLUGIN", "HOOKS"], [[plugin.name, ", ".join(plugin.hooks)] for plugin in hooks.plugins])


def _users(store: Store) -> dict[str, list[str]]:
    """Who uses a filter: by `spec.type`, the Filters of that type, their targets, and the routes that name them."""
    types = {(f.metadata.namespace, f.metadata.name): f.spec.type for f in store.list("Filter")}
    users: dict[str, list[str]] = {}
    for (namespace, name), type_ in types.items():
        users.setdefault(type_, []).append(f"Filter/{namespace}/{name}")
    for source in store.list("Filter"):
        for ref in source.spec.target_refs or ():
            users[source.spec.type].append(f"{ref.kind}/{source.metadata.namespace}/{ref.name}")
    for route in store.list("HTTPRoute"):
        for rule in route.spec.rules or ():
            lists = [rule.filters, *(ref.filters for ref in rule.backend_refs or ())]
            for entry in (entry for filters in lists for entry in filters or ()):
                ref = entry.extension_ref
                if ref is not None and (ref.group, ref.kind) == ("fastgate.dev", "Filter"):
                    type_ = types.get((route.metadata.namespace, ref.name), "")
                    users.setdefault(type_, []).append(f"HTTPRoute/{route.metadata.namespace}/{route.metadata.name}")
    return users
