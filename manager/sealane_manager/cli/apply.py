"""`sealane apply`, `sealane diff`: rollouts as files, so that a pipeline can bring them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Exit, Format, OutputOption, emit, emit_one, reported
from sealane_manager.rollout_file.applying import Wish
from sealane_manager.rollout_file.nodes import FILE_BYTES
from sealane_manager.rollout_file.reading import read
from sealane_manager.rollout_file.writing import differences

if TYPE_CHECKING:
    from sealane_manager.client import Operator
    from sealane_manager.rollout_file.reading import RolloutFile
    from sealane_manager.views import RolloutView

FileOption = Annotated[
    Path, typer.Option("--file", "-f", help="a rollout file; - reads it from the input")
]
OptionalFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="a rollout file; - reads it from the input")
]

_DIFFERENCES = ("field", "before", "after")


def apply(
    file: FileOption, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Start what a rollout file asks for, unless the last rollout of its name does so already.

    The same file again changes nothing. A changed file is refused while that rollout is not over,
    unless it says `on_conflict: supersede`.
    """
    with reported(), connect(context) as manager:
        asked = read_file(file)
        applied = manager.apply_rollout(Wish(asked.name, asked.spec), asked.reason)
        found = applied.rollout
        row = {
            "name": asked.name,
            "id": found.id,
            "outcome": str(applied.outcome),
            "state": str(found.state),
            "reason": found.reason,
        }
        emit_one(row, output)


def diff(
    file: FileOption, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Show what a rollout file asks for differently: exit code 0 for nothing, 5 for something."""
    with reported(), connect(context) as manager:
        asked = read_file(file)
        found = last_of(manager, asked.name)
        if not found:
            typer.echo(f"{asked.name} is new", err=True)
            raise typer.Exit(Exit.DIFFERS)
        rows = [asdict(each) for each in differences(found.asked, asked.spec)]
        if rows or output is Format.JSON:
            emit(rows, _DIFFERENCES, output)
    if rows:
        raise typer.Exit(Exit.DIFFERS)


def read_file(path: Path) -> RolloutFile:
    """What a file, or the standard input, asks for; raises WrongFile."""
    if str(path) == "-":
        return read(sys.stdin.buffer.read(FILE_BYTES + 1), "input")
    with path.open("rb") as file:
        return read(file.read(FILE_BYTES + 1), str(path))


def last_of(manager: Operator, name: str) -> RolloutView | None:
    """The last rollout of this name, or the one with this id."""
    return next((each for each in manager.list_rollouts() if name in {each.name, each.id}), None)
