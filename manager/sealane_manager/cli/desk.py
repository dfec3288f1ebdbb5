"""Where the commands of a ceremony work: a manager that is called, or a state folder here."""

from __future__ import annotations

import getpass
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from sealane.service import become_owner

from sealane_manager.cli.configured import demanded_producers
from sealane_manager.cli.context import connect
from sealane_manager.layout import StateFolder
from sealane_manager.trust.keys import signers_here
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from securesystemslib.signer import Signer

    from sealane_manager.repository import Repository
    from sealane_manager.trust.proposals import TrustDesk

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="SEALANE_STATE",
        help="the manager's state folder, on its own machine; without it the manager is called",
        show_default=False,
    ),
]
ReasonOption = Annotated[str, typer.Option(help="why, for those who sign and for the log")]
KeyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--key",
        help="private key file, or the public file of a key in a token or a service; repeatable",
        show_default=False,
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", help="do not ask before signing")]

_FILES: Final = {"passphrase": "SEALANE_PASSPHRASE_FILE", "pin": "SEALANE_PIN_FILE"}
"""Where programs put what people type: the first line of a file."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where a ceremony takes place.

    Attributes:
        signers: keys that lie on the manager's own machine, in development mode all of them.
    """

    desk: TrustDesk
    fleet: str
    signers: tuple[Signer, ...] = ()


@contextmanager
def room(state: Path | None, context: Path | None) -> Iterator[Room]:
    """Open the state folder, or call the manager; raises SealaneError."""
    if state is None:
        with connect(context) as operator:
            yield Room(operator, operator.fleet)
        return
    with local_room(state) as (place, _):
        yield place


@contextmanager
def local_room(state: Path) -> Iterator[tuple[Room, Repository]]:
    """Open the state folder, and the repository in it; raises SealaneError."""
    from sealane_manager.trust.office import (  # noqa: PLC0415 - a second, only when it is needed
        LocalDesk,
        Premises,
        local_publishing,
    )

    folder = StateFolder(state)
    settings = FleetSettings.load(folder.settings)
    become_owner(state)
    with local_publishing(Premises(folder, demanded_producers())) as (publishing, repository):
        desk = LocalDesk(publishing, f"{getpass.getuser()} on the manager's machine")
        signers = tuple(signer for _, signer in signers_here(folder.keys))
        yield Room(desk, settings.fleet, signers), repository


def ask_secret(what: str) -> str:
    """A passphrase or a PIN: from the file that the environment names, else typed."""
    named = os.environ.get(_FILES.get(what, ""), "")
    if named:
        lines = Path(named).read_text().splitlines()
        return lines[0] if lines else ""
    typed: str = typer.prompt(what.capitalize(), hide_input=True)
    return typed


def new_passphrase() -> str:
    """A passphrase for a new key, typed twice when it is typed."""
    if os.environ.get(_FILES["passphrase"]):
        return ask_secret("passphrase")
    typed: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True)
    return typed
