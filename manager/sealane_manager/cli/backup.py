"""`sealane backup` and `sealane restore`: on the machine that holds the manager's state."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer
from sealane.clock import SystemClock
from sealane.service import become_owner

from sealane_manager.backup.restore import RestoreOrder
from sealane_manager.backup.restore import restore as put_back
from sealane_manager.backup.take import BackupOrder
from sealane_manager.backup.take import backup as take
from sealane_manager.cli.output import Format, OutputOption, emit_one, reported
from sealane_manager.errors import Refused
from sealane_manager.layout import StateFolder

PASSPHRASE_BYTES: Final = 1024

PassphraseOption = Annotated[
    Path | None,
    typer.Option(help="file whose first line seals the keys; asked for on a terminal if none"),
]


def backup(
    out: Annotated[Path, typer.Argument(help="new file for the backup")],
    state: Annotated[
        Path, typer.Option("--state", envvar="SEALANE_STATE", help="the manager's state folder")
    ] = Path("/var/lib/sealane"),
    passphrase_file: PassphraseOption = None,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="leave out keys and other secrets")
    ] = False,
    without_blobs: Annotated[
        bool, typer.Option("--without-blobs", help="only name the bundles' blobs")
    ] = False,
    output: OutputOption = Format.TABLE,
) -> None:
    """Back up a manager, running or not, into one verified file."""
    with reported():
        order = BackupOrder(
            state=StateFolder(state),
            out=out.absolute(),
            passphrase=None if without_keys else _passphrase(passphrase_file, confirm=True),
            blobs=not without_blobs,
            version=version("sealane-manager"),
            now=SystemClock().now(),
        )
        contents = take(order)
        row = {
            "file": str(order.out),
            "fleet": contents.fleet,
            "files": len(contents.files),
            "bytes": order.out.stat().st_size,
            "keys": "sealed" if contents.seal else "left out",
            "blobs_left_out": len(contents.missing),
        }
        emit_one(row, output)


def restore(
    file: Annotated[Path, typer.Argument(help="what `sealane backup` made")],
    state: Annotated[Path, typer.Argument(help="folder for the manager's state; new or empty")],
    passphrase_file: PassphraseOption = None,
    output: OutputOption = Format.TABLE,
) -> None:
    """Put a backup back into an empty folder; rollouts that were running wait as paused."""
    with reported(), file.open("rb") as opened:
        if passphrase_file is not None:
            given = _passphrase(passphrase_file, confirm=False)
        become_owner(state)
        restored = put_back(
            RestoreOrder(
                file=opened,
                state=StateFolder(state.absolute()),
                passphrase=lambda: given if passphrase_file else _passphrase(None, confirm=False),
                now=SystemClock().now(),
            )
        )
        contents = restored.contents
        row = {
            "fleet": contents.fleet,
            "made_at": contents.made_at.isoformat(),
            "files": len(contents.files),
            "paused_rollouts": " ".join(restored.paused) or "none",
            "put_back_by_hand": " ".join(contents.left_out) or "nothing",
            "blobs_left_out": len(contents.missing),
            "next": f"sealane serve {state}",
        }
        emit_one(row, output)


def _passphrase(path: Path | None, *, confirm: bool) -> str:
    if path is not None:
        with path.open(encoding="utf-8") as opened:
            return opened.readline(PASSPHRASE_BYTES).rstrip("\n")
    if not sys.stdin.isatty():
        raise Refused(
            "there is nobody to ask for the passphrase that seals the keys",
            hint="name a file with --passphrase-file, or leave the keys out with --without-keys",
        )
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True))
