"""The `fastgate` command."""

from __future__ import annotations

import sys

import typer

from fastgate.cli import controller, dataplane, explain, plugins, run, status, validate

app = typer.Typer(
    name="fastgate",
    help="The Kubernetes Gateway API, with a compiled data plane.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)
app.command("run")(run.run)
app.command("controller")(controller.controller)
app.command("dataplane")(dataplane.dataplane)
app.command("validate")(validate.validate)
app.command("explain")(explain.explain)
app.command("status")(status.status)
app.add_typer(plugins.app, name="plugins")


@app.callback(invoke_without_command=True)
def version(*, version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """Serve Gateway API resources, look at them, and ask why a request goes where it goes."""
    if version:
        from fastgate import __version__  # noqa: PLC0415 - reads the installed metadata

        typer.echo(f"fastgate {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    try:
        app()
    except BrokenPipeError:
        sys.exit(141)  # as a process that SIGPIPE ended
