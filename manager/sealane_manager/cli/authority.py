"""`sealane authority`: replaces the authority of the fleet's certificates, where its state lies."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sealane.clock import SystemClock

from sealane_manager.audit import told
from sealane_manager.cli.output import reported
from sealane_manager.identity import rotation
from sealane_manager.layout import StateFolder
from sealane_manager.repository import Repository
from sealane_manager.store.store import open_store
from sealane_manager.trust.keys import TARGETS, key_path, load_signer
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    no_args_is_help=True, help="Replace the authority of certificates: prepare, switch, retire."
)

StateOption = Annotated[
    Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--targets-key", help="key of the targets role, PEM; else that of the state"),
]


@app.command()
def prepare(state: StateOption, targets_key: KeyOption = None) -> None:
    """Make the next authority, and let every device believe both."""
    with reported(), _repository(state) as repository:
        folder = StateFolder(state)
        fleet = FleetSettings.load(folder.settings).fleet
        signer = load_signer(targets_key or key_path(folder.keys, TARGETS))
        rotation.prepare(folder, fleet, repository, signer)
        typer.echo("devices believe both from their next document on")
        typer.echo("next: when all were seen, sealane authority switch")


@app.command()
def switch(state: StateOption) -> None:
    """Let the next authority issue; both are believed."""
    with reported():
        folder = StateFolder(state)
        rotation.switch(folder, FleetSettings.load(folder.settings).hosts)
        typer.echo("restart the manager now; operators elsewhere need its new ca.pem")
        typer.echo("next: when every certificate was renewed, sealane authority retire")


@app.command()
def retire(state: StateOption, targets_key: KeyOption = None) -> None:
    """Believe the previous authority no more."""
    with reported(), _repository(state) as repository:
        folder = StateFolder(state)
        signer = load_signer(targets_key or key_path(folder.keys, TARGETS))
        rotation.retire(folder, repository, signer)
        typer.echo("restart the manager now; join tokens and operators from before are void")


@contextmanager
def _repository(state: Path) -> Iterator[Repository]:
    """The repository, whose changes are told in the audit log."""
    folder, clock = StateFolder(state), SystemClock()
    FleetSettings.load(folder.settings)
    store = open_store(folder.database)
    try:
        yield Repository(folder.tuf, folder.keys, clock, told(store.decisions, clock))
    finally:
        store.close()
