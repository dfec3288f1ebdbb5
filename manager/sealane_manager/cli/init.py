"""`sealane init`: begin a fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from sealane.service import become_owner

from sealane_manager.cli.output import errors, reported
from sealane_manager.identity.ca import fingerprint_of
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.trust.ceremony import init_development
from sealane_manager.trust.overview import roles_of, root_fingerprint

_BANNER: Final = """\
!!! DEVELOPMENT MODE !!!
Every key of this fleet lies unencrypted on this machine, and one signature is enough.
Who takes this machine can approve any model and run it on every device.
Use it to try Sealane; do not enrol machines that matter."""


StateArgument = Annotated[Path, typer.Argument(help="folder for the manager's state; new or empty")]


def command(
    state: StateArgument,
    fleet: Annotated[str, typer.Option(help="the fleet's name; it stands in every certificate")],
    host: Annotated[
        list[str], typer.Option(help="name or address under which devices dial the manager")
    ],
    family: Annotated[
        list[str] | None, typer.Option(help="family of models, each with a key of its own")
    ] = None,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="do nothing when the folder holds a fleet")
    ] = False,
) -> None:
    """Begin a fleet in development mode: trust root, keys, certificate authority, operator."""
    folder = StateFolder(state)
    with reported():
        become_owner(state)
        if if_needed and folder.settings.exists():
            typer.echo(f"{folder.root} holds a fleet already")
            return
        init_development(folder, fleet, host, family or [])
        errors.print(_BANNER, style="bold red", markup=False)
        _print_fingerprints(folder, fleet)


def _print_fingerprints(folder: StateFolder, fleet: str) -> None:
    repository = Repository(folder.tuf, folder.keys)
    typer.echo(f"fleet           {fleet}")
    typer.echo(f"state           {folder.root}")
    typer.echo(f"root.json       sha256:{root_fingerprint(repository.current)}")
    typer.echo(f"CA certificate  sha256:{fingerprint_of(folder.ca)}")
    for view in roles_of(repository.current):
        typer.echo(f"key {view.role:<11} {', '.join(view.keys)}")
    typer.echo(f"next            sealane serve {folder.root}")
