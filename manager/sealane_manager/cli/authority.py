"""`sealane authority`: replaces the authority of the fleet's certificates, where its state lies."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealane_manager.cli.desk import ask_secret, local_room
from sealane_manager.cli.output import reported
from sealane_manager.cli.proposing import Wish, proposed
from sealane_manager.identity import rotation
from sealane_manager.layout import StateFolder
from sealane_manager.trust.edits import with_target
from sealane_manager.trust.settings import FleetSettings
from sealane_manager.trust.signers import open_signer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securesystemslib.signer import Signer
    from tuf.api.metadata import TargetFile

    from sealane_manager.cli.desk import Room
    from sealane_manager.identity.rotation import Propose

app = typer.Typer(
    no_args_is_help=True, help="Replace the authority of certificates: prepare, switch, retire."
)

StateOption = Annotated[
    Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--targets-key", help="sign with this key of the targets role at once"),
]


@app.command()
def prepare(state: StateOption, targets_key: KeyOption = None) -> None:
    """Make the next authority, and let every device believe both."""
    with reported(), _opened(targets_key) as keys, local_room(state) as (place, repository):
        propose = _proposing(place, keys, "believe the next authority too")
        if rotation.prepare(StateFolder(state), place.fleet, repository, propose):
            typer.echo("devices believe both from their next document on")
            typer.echo("next: when all were seen, sealane authority switch")
        else:
            typer.echo("and when it is published, once more: sealane authority prepare")


@app.command()
def switch(state: StateOption) -> None:
    """Let the next authority issue; both are believed."""
    with reported(), local_room(state) as (_, repository):
        folder = StateFolder(state)
        rotation.switch(folder, FleetSettings.load(folder.settings).hosts, repository)
        typer.echo("restart the manager now; operators elsewhere need its new ca.pem")
        typer.echo("next: when every certificate was renewed, sealane authority retire")


@app.command()
def retire(state: StateOption, targets_key: KeyOption = None) -> None:
    """Believe the previous authority no more."""
    with reported(), _opened(targets_key) as keys, local_room(state) as (place, repository):
        propose = _proposing(place, keys, "believe the previous authority no more")
        if rotation.retire(StateFolder(state), repository, propose):
            typer.echo("restart the manager now; join tokens and operators from before are void")
        else:
            typer.echo("and when it is published, once more: sealane authority retire")


@contextmanager
def _opened(targets_key: Path | None) -> Iterator[tuple[Signer, ...]]:
    """The key, read before root becomes the owner of the state folder."""
    yield () if targets_key is None else (open_signer(targets_key, ask_secret),)


def _proposing(place: Room, keys: tuple[Signer, ...], reason: str) -> Propose:
    place = replace(place, signers=(*place.signers, *keys))

    def propose(target: TargetFile) -> None:
        proposed(place, lambda ground: with_target(ground, target), Wish(reason))

    return propose
