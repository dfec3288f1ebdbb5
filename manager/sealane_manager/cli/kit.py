"""`sealane kit`: releases for devices without network, in one file."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer
from sealane import fileio
from sealane.kit.file import Kit
from sealane.names import ReleaseName, parse_device, parse_slot

from sealane_manager.appearing import check_folder
from sealane_manager.cli.arguments import parse_bounded
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.cli.table import counted
from sealane_manager.errors import Refused
from sealane_manager.kits import SHORTEST, KitRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(no_args_is_help=True, help="Releases for devices without network.")

_COLUMNS = ("id", "fleet", "until", "devices", "metadata", "blobs", "bytes")


@app.callback()
def kit() -> None:
    """Releases for devices without network, in one file."""


@app.command("export")
def export_kit(
    file: Annotated[Path, typer.Argument(help="where to write it; must not be there yet")],
    release: Annotated[str, typer.Option(help="family/model@version")],
    slot: Annotated[str, typer.Option(help="where it shall serve")],
    device: Annotated[list[str] | None, typer.Option(help="for this device; repeat it")] = None,
    selector: Annotated[str, typer.Option(help="for all devices that it picks")] = "",
    valid: Annotated[
        str, typer.Option(help="so long: 12h, 3d; as long as can be without it, up to 7d")
    ] = "",
    reason: Annotated[str, typer.Option(help="why, for the audit log")] = "",
    context: ContextOption = None,
) -> None:
    """Write a kit: signed documents for its devices, metadata and blobs; see docs/operations.md."""
    lasts = parse_bounded(valid, SHORTEST) if valid else None
    with reported(), connect(context) as manager:
        if file.exists():
            raise Refused(f"{file} is there already", hint="name another file")
        check_folder(file.absolute().parent)
        asked = KitRequest(
            ReleaseName.parse(release),
            parse_slot(slot),
            tuple(map(parse_device, device or ())),
            selector,
            lasts,
        )
        _write(file, manager.kits.export(asked, reason))
        with file.open("rb") as written:
            index = Kit.read(written).index
    typer.echo(
        f"wrote {file}: {index.id} for {counted(len(index.documents))}, "
        f"valid until {index.until:%Y-%m-%d %H:%M} UTC"
    )


@app.command("show")
def show_kit(
    file: Annotated[Path, typer.Argument(help="a kit")], output: OutputOption = Format.TABLE
) -> None:
    """Show what a kit brings, and to whom; nothing of it is verified here."""
    with reported(), file.open("rb") as opened:
        index = Kit.read(opened).index
    row = {
        "id": index.id,
        "fleet": index.fleet,
        "until": index.until.isoformat(),
        "devices": ", ".join(index.documents),
        "metadata": len(index.metadata),
        "blobs": len(index.blobs),
        "bytes": index.content_bytes,
    }
    emit([row], _COLUMNS, output)


def _write(file: Path, parts: Iterable[bytes]) -> None:
    """The whole kit or none."""
    arriving = file.with_name(f".{file.name}.new")
    try:
        with fileio.appending(arriving) as written:
            for part in parts:
                written.write(part)
        fileio.rename(arriving, file)
    finally:
        arriving.unlink(missing_ok=True)
