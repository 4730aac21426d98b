"""What commands have in common that look at a cluster: the options, and how one is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastgate.translate.conditions import CONTROLLER_NAME

if TYPE_CHECKING:
    from fastgate.kubernetes.config import Config

Kubeconfig = Annotated[
    str,
    typer.Option(
        metavar="PATH", help="How the API server is reached. [default: KUBECONFIG, this Pod's, ~/.kube/config]"
    ),
]
Context = Annotated[str, typer.Option(metavar="NAME", help="Context of the kubeconfig.")]
Controller = Annotated[
    str, typer.Option(envvar="FASTGATE_CONTROLLER_NAME", help="controllerName of the GatewayClasses.")
]
WatchNamespaces = Annotated[
    str,
    typer.Option(
        envvar="FASTGATE_WATCH_NAMESPACES", metavar="NAME,...", help="Follow these namespaces only. [default: all]"
    ),
]

__all__ = ["CONTROLLER_NAME", "Context", "Controller", "Kubeconfig", "WatchNamespaces", "names", "reached"]


def reached(kubeconfig: str, context: str) -> Config:
    """Return how the API server is reached; typer.BadParameter says why it is not."""
    try:
        from fastgate.kubernetes import config, credentials  # noqa: PLC0415 - the libraries of the extra may not be there
    except ImportError as e:
        raise typer.BadParameter(f"--kubernetes needs {e.name}: pip install 'fastgate[kubernetes]'") from None
    try:
        return config.load(kubeconfig, context)
    except credentials.ConfigError as e:
        raise typer.BadParameter(str(e)) from None


def names(text: str) -> tuple[str, ...]:
    """Return the names that a list separates by commas."""
    return tuple(filter(None, (name.strip() for name in text.split(","))))
