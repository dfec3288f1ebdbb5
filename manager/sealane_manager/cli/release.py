"""`sealane release`: what is approved to run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported

if TYPE_CHECKING:
    from sealane_manager.views import ReleaseView

app = typer.Typer(no_args_is_help=True, help="What is approved to run.")


@app.callback()
def release() -> None:
    """What is approved to run."""


@app.command("list")
def list_releases(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List releases: their slots, their sizes and their manifests."""
    with reported(), connect(context) as manager:
        rows = [_row(found, output) for found in manager.list_releases()]
        emit(rows, ("release", "slots", "size", "manifest"), output)


def _row(found: ReleaseView, output: Format) -> dict[str, Any]:
    slots = ", ".join(found.slots) if output is Format.TABLE else list(found.slots)
    row = asdict(found) | {"release": str(found.name), "slots": slots}
    del row["name"]
    return row
