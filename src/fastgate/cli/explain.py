"""`fastgate explain`: where a request goes, and why it does not go elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from fastgate.cli import cluster
from fastgate.output import print_problems
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.manager import Hooks
from fastgate.sources.files import Files
from fastgate.sources.objects import Objects
from fastgate.translate import Translator, explain_layer4, translate
from fastgate.translate import explain as explanations
from fastgate.translate.mode import Mode

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config
    from fastgate.translate import Translation


def explain(
    method: Annotated[
        str | None,
        typer.Argument(help="Method of the request, such as GET; or tls://name, tcp://host:port, udp://host:port."),
    ] = None,
    url: Annotated[
        str | None, typer.Argument(help="Absolute URL of the request; its port chooses the listener.")
    ] = None,
    *,
    files: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="File or directory of YAML; may be given again.")
    ] = None,
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Explain what a cluster has.")] = False,
    kubeconfig: cluster.Kubeconfig = "",
    context: cluster.Context = "",
    controller_name: cluster.Controller = cluster.CONTROLLER_NAME,
    headers: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="Field as `name: value`; may be given again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say which listener, route, rule, match and backend take a request, and why each better-placed candidate does not.

    Also lists the rules that can never match; without METHOD and URL, only those. In the place of both, tls://name[:port],
    tcp://host:port or udp://host:port say where a connection or datagrams go.
    Exits 1 when nothing takes the request.

    Example: fastgate explain -f routes/ GET https://shop.example.com/cart -H 'x-user: 1'

    Example: fastgate explain --kubernetes GET http://shop.example.com/
    """
    if kubernetes == bool(files):
        raise typer.BadParameter("either --file or --kubernetes says what is explained")
    if kubernetes:
        translation = _of_cluster(cluster.reached(kubeconfig, context), controller_name)
    else:
        translation = _of_files(files or [])
    if method is not None and "://" in method:
        _below_http(method, translation, as_json=as_json)
    spoken = explanations.upstream_tls(translation.ir)
    answers: tuple[explanations.Explanation, ...] = ()
    request = None
    if method is not None:
        request = _request(method, url, headers or [])
        answers = explanations.explain(translation.ir, request)
    if as_json:
        print(json.dumps({
            "answers": [explanations.to_json(answer, translation.endpoints, spoken) for answer in answers],
            "unreachable": explanations.unreachable_json(translation.ir),
        }, indent=2))  # fmt: skip
    else:
        parts = [explanations.describe(answer, translation.endpoints, spoken) for answer in answers]
        if request is not None and not answers:
            parts.append(f"no listener serves port {request.port}")
        if unreachable := explanations.describe_unreachable(translation.ir):
            parts.append("\n".join(unreachable))
        print("\n\n".join(parts))
    found = request is None or any(answer.match is not None for answer in answers)
    raise typer.Exit(0 if found else 1)


def _of_files(files: list[Path]) -> Translation:
    sources, problems = Files(files).read()
    hooks = Hooks()
    loaded = Objects(hooks.kinds).load(sources)
    print_problems([*problems, *hooks.problems, *loaded.problems])
    return translate(loaded.store, Catalog())


def _of_cluster(config: Config, controller: str) -> Translation:
    from fastgate.kubernetes import reading  # noqa: PLC0415 - its libraries may not be there without --kubernetes

    catalog = Catalog()
    try:
        moment = reading.read(config, controller, catalog)
    except reading.UnreadableError as e:
        print(f"fastgate explain: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
    for why in moment.unread.values():
        print(f"fastgate explain: {why}", file=sys.stderr)
    translator = Translator(catalog, Mode(controller=controller, guarded=True))
    return translator.translate(moment.store, reading.homes(moment.store, controller))


def _below_http(url: str, translation: Translation, *, as_json: bool) -> NoReturn:
    try:
        target = explain_layer4.target_of(url)
    except ValueError as e:
        print(f"fastgate explain: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
    ways = explain_layer4.explain(translation.ir, target)
    spoken = explanations.upstream_tls(translation.ir)
    if as_json:
        answers = [explain_layer4.to_json(way, translation.endpoints, spoken) for way in ways]
        print(json.dumps({"answers": answers}, indent=2))
    else:
        parts = [explain_layer4.describe(way, translation.endpoints, spoken) for way in ways]
        print("\n\n".join(parts) or f"no listener of {target.scheme} serves port {target.port}")
    raise typer.Exit(0 if any(way.taken is not None or way.is_http for way in ways) else 1)


def _request(method: str, url: str | None, headers: list[str]) -> explanations.Request:
    if url is None:
        print("fastgate explain: METHOD needs a URL", file=sys.stderr)
        raise typer.Exit(2)
    fields = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            print(f"fastgate explain: {header!r} is not `name: value`", file=sys.stderr)
            raise typer.Exit(2)
        fields.append((name.strip(), value.strip()))
    try:
        return explanations.request_of(method, url, fields)
    except ValueError as e:
        print(f"fastgate explain: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
