"""`fastgate status`: what the running gateway serves."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgate.cli import cluster
from fastgate.output import paint, print_table
from fastgate.plugins.discovery import Catalog
from fastgate.translate.expiry import BAD

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config


def status(
    *,
    admin: Annotated[
        str, typer.Option(help="Admin address of the gateway.", envvar="FASTGATE_ADMIN", metavar="HOST:PORT")
    ] = "127.0.0.1:9901",
    kubernetes: Annotated[bool, typer.Option("--kubernetes", help="Show what a cluster says of its Gateways.")] = False,
    kubeconfig: cluster.Kubeconfig = "",
    context: cluster.Context = "",
    controller_name: cluster.Controller = cluster.CONTROLLER_NAME,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show the Gateways, listeners, routes and filters of the running gateway: conditions, addresses, attached routes.

    With --kubernetes: as the statuses of a cluster's objects have them.
    Exits 1 when an object is not as it should be or the last configuration was refused, 2 when no gateway answers.

    Example: fastgate status --admin 127.0.0.1:9901

    Example: fastgate status --kubernetes
    """
    document = _of_cluster(cluster.reached(kubeconfig, context), controller_name) if kubernetes else _fetch(admin)
    if as_json:
        print(json.dumps(document, indent=2))
        raise typer.Exit
    if "generation" in document:
        print(f"generation {document['generation']}, {len(document['workers'])} workers\n")
    _print_sockets(document["sockets"])
    _print_endpoints(document.get("endpoints", []))
    faults = _print_certificates(document.get("certificates", [])) + _print_objects(document["objects"])
    for problem in document["problems"]:
        print(problem, file=sys.stderr)
    refused = document.get("refused", [])
    if refused:
        print(
            f"\nwhat was given last is refused, and generation {document['generation']} still served:", file=sys.stderr
        )
    for problem in refused:
        print(problem, file=sys.stderr)
    raise typer.Exit(1 if faults or refused else 0)


def _print_sockets(sockets: list[dict[str, Any]]) -> None:
    print_table(
        ["GATEWAY", "LISTENER", "HOSTNAME", "PORT", "ADDRESS", "ROUTES"],
        [
            [
                s["gateway"],
                s["listener"],
                s["hostname"] or "*",
                str(s["port"]),
                s["error"] or s["address"],
                str(s["routes"]),
            ]
            for s in sockets
        ],
    )
    print()


def _print_endpoints(endpoints: list[dict[str, Any]]) -> None:
    if not endpoints:
        return
    print_table(
        ["BACKEND", "ENDPOINT", "HEALTH", "LAST CHANGE"],
        [
            [
                e["cluster"],
                e["endpoint"],
                "healthy" if e["healthy"] else paint("unhealthy", "31", sys.stdout),
                e["last_change"],
            ]
            for e in endpoints
        ],
    )
    print()


def _print_certificates(certificates: list[dict[str, Any]]) -> int:
    """Returns how many are bad."""
    if not certificates:
        return 0
    states = [c["state"] for c in certificates]
    print_table(
        ["LISTENER", "CERTIFICATE", "KEY", "NOT AFTER", "STATE"],
        [
            [
                c["listener"],
                ", ".join(c["names"]),
                c["key_type"],
                c["not_after"],
                paint(state, "31", sys.stdout) if state in BAD else state,
            ]
            for c, state in zip(certificates, states, strict=True)
        ],
    )
    print()
    return sum(state in BAD for state in states)


def _print_objects(objects: dict[str, dict[str, Any]]) -> int:
    """Returns how many conditions are not as they should be."""
    faults, rows = 0, []
    for name, found in objects.items():
        for where, condition in _conditions(name, found):
            bad = _is_bad(condition)
            faults += bad
            state = f"{condition['type']}={condition['status']}"
            rows.append(
                [
                    where,
                    paint(state, "31", sys.stdout) if bad else state,
                    condition["reason"],
                    condition["message"] if bad else "",
                ]
            )
    print_table(["OBJECT", "CONDITION", "REASON", "MESSAGE"], rows)
    return faults


def _of_cluster(config: Config, controller: str) -> dict[str, Any]:
    from fastgate.kubernetes import reading  # noqa: PLC0415 - its libraries may not be there without --kubernetes

    try:
        moment = reading.read(config, controller, Catalog())
    except reading.UnreadableError as e:
        print(f"fastgate status: {e}", file=sys.stderr)
        raise typer.Exit(2) from None
    return {
        "sockets": reading.sockets(moment, controller),
        "objects": moment.statuses,
        "problems": list(moment.unread.values()),
    }


def _fetch(admin: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{admin}/status", timeout=5) as answer:
            document: dict[str, Any] = json.load(answer)
            return document
    except (urllib.error.URLError, OSError, ValueError) as e:
        reason = getattr(e, "reason", e)
        why = getattr(reason, "strerror", None) or reason
        print(f"fastgate status: no gateway answers at {admin}: {why}", file=sys.stderr)
        raise typer.Exit(2) from None


def _conditions(name: str, found: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    out = [(name, condition) for condition in found.get("conditions", [])]
    for listener in found.get("listeners", []):
        out += [(f"{name}/{listener['name']}", condition) for condition in listener["conditions"]]
    for parent in found.get("parents", []):
        out += [(f"{name} -> {_named(parent['parentRef'])}", condition) for condition in parent["conditions"]]
    for target in found.get("ancestors", []):
        ref = target["ancestorRef"]
        out += [(f"{name} -> {ref['kind']}/{_named(ref)}", condition) for condition in target["conditions"]]
    return out


def _named(ref: dict[str, Any]) -> str:
    return "/".join(filter(None, [ref.get("namespace"), ref["name"], ref.get("sectionName")]))


def _is_bad(condition: dict[str, Any]) -> bool:
    negative = condition["type"] in (
        "Conflicted",
        "PartiallyInvalid",
        "InsecureFrontendValidationMode",
    )
    return bool(condition["status"] == ("True" if negative else "False"))
