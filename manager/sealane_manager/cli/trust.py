"""`sealane trust`: the roles of the fleet's trust root, on the machine that holds its state."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealane_manager.cli.output import Format, OutputOption, emit, errors, reported
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import add_family
from sealane_manager.trust.overview import roles_of, root_fingerprint
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from sealane_manager.trust.overview import RoleView

app = typer.Typer(no_args_is_help=True, help="The roles of the fleet's trust root.")

_COLUMNS = ("role", "version", "expires", "threshold", "keys", "signs")
_KEY_CHARS = 12

StateOption = Annotated[
    Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
]


@app.command()
def show(state: StateOption, output: OutputOption = Format.TABLE) -> None:
    """Show every role: its version, until when it is valid, who signs and how many must."""
    with reported():
        folder = StateFolder(state)
        settings = FleetSettings.load(folder.settings)
        repository = Repository(folder.tuf, folder.keys)
        if output is Format.TABLE:
            typer.echo(f"fleet {settings.fleet}, root.json sha256:{root_fingerprint(repository)}")
        emit([_row(view, output) for view in roles_of(repository)], _COLUMNS, output)
        if settings.development:
            errors.print("development mode: every key lies on this machine", style="bold red")


@app.command("add-family")
def add(family: str, state: StateOption) -> None:
    """Add a family of models with a new key; its releases are called FAMILY/model@version."""
    with reported():
        folder = StateFolder(state)
        FleetSettings.load(folder.settings)
        add_family(folder, family)
        typer.echo(f"family {family} may now publish {family}/*")


def _row(view: RoleView, output: Format) -> dict[str, Any]:
    row = asdict(view)
    if output is Format.JSON:
        return row
    row["keys"] = " ".join(key[:_KEY_CHARS] for key in view.keys)
    row["version"] = view.version or "-"
    row["expires"] = f"{view.expires:%Y-%m-%d}" if view.expires else "-"
    return row
