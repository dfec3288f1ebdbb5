"""`sealane quarantine`: take a release off every device at once, whatever rollout brought it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from sealane.names import ReleaseName

from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.cli.table import counted

app = typer.Typer(no_args_is_help=True, help="Take a release off every device at once.")

ReleaseArgument = Annotated[str, typer.Argument(help="family/model@version")]
ReasonOption = Annotated[str, typer.Option("--reason", help="why, for the decision log")]

_COLUMNS = ("release", "at", "actor", "reason", "stops", "manifest")


@app.command()
def put(
    release: ReleaseArgument,
    reason: ReasonOption,
    stop: Annotated[
        bool,
        typer.Option(
            "--stop", help="also where nothing else can serve: such a slot answers nothing"
        ),
    ] = False,
    context: ContextOption = None,
) -> None:
    """Take it off every device: each gets back what it replaced; no rollout may bring it again."""
    with reported(), connect(context) as manager:
        told = manager.quarantine(ReleaseName.parse(release), reason, stops=stop)
    typer.echo(f"{release} is in quarantine; told: {counted(told)}")


@app.command()
def lift(release: ReleaseArgument, reason: ReasonOption, context: ContextOption = None) -> None:
    """Let it be rolled out again; nothing happens until somebody does."""
    with reported(), connect(context) as manager:
        manager.lift_quarantine(ReleaseName.parse(release), reason)
    typer.echo(f"{release} may be rolled out again")


@app.command("list")
def list_quarantine(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List what is in quarantine, the newest first."""
    with reported(), connect(context) as manager:
        emit([asdict(each) for each in manager.quarantined()], _COLUMNS, output)
