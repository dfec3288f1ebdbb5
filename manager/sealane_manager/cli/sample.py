"""`sealane sample`: samples of inputs, as far as their release lets them be kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer
from sealane import fileio
from sealane.errors import SampleError, SealaneError

from sealane_manager.cli.arguments import parse_bounded
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported, warn_of_slot
from sealane_manager.cli.table import counted
from sealane_manager.export.npy import npy
from sealane_manager.store.records import SampleWish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane_manager.client import Operator

app = typer.Typer(no_args_is_help=True, help="Samples of inputs, sealed on their device.")

_COLUMNS = ("id", "device", "slot", "release", "trigger", "taken_at", "keep_until", "bytes")
_ORDER_COLUMNS = ("device", "slot", "until", "by", "reason")
_ID_CHARS: Final = 64

SHORTEST: Final = timedelta(seconds=1)
"""No time at all is what `off` orders."""

SlotOption = Annotated[str, typer.Option(help="of which slot")]
SelectorOption = Annotated[str, typer.Option(help="from which devices; all without one")]
ReasonOption = Annotated[str, typer.Option(help="why, for the decision log")]


@app.command()
def on(
    slot: SlotOption,
    lasts: Annotated[str, typer.Option("--for", help="how long: 30m, 4h, 7d; at most 30d")],
    reason: ReasonOption,
    selector: SelectorOption = "",
    context: ContextOption = None,
) -> None:
    """Order samples for a while: devices keep what the release's own terms allow, and no more."""
    _order(SampleWish(selector, slot, parse_bounded(lasts, SHORTEST)), reason, context)


@app.command()
def off(
    slot: SlotOption,
    reason: ReasonOption,
    selector: SelectorOption = "",
    context: ContextOption = None,
) -> None:
    """Order no more samples; those that are here stay until their time is over."""
    _order(SampleWish(selector, slot, timedelta(0)), reason, context)


@app.command()
def orders(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List the orders that hold now."""
    with reported(), connect(context) as manager:
        emit([asdict(each) for each in manager.samples.orders()], _ORDER_COLUMNS, output)


@app.command("list")
def list_samples(
    device: Annotated[str, typer.Option(help="only of this device")] = "",
    slot: Annotated[str, typer.Option(help="only of this slot")] = "",
    release: Annotated[str, typer.Option(help="only of this release")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """List samples, the newest first, without opening them."""
    with reported(), connect(context) as manager:
        rows = [asdict(each) for each in manager.samples.list(device, slot, release)]
    emit(rows, _COLUMNS, output)


@app.command()
def view(
    sample: str,
    folder: Annotated[Path, typer.Argument(help="where its tensors are written, as .npy")],
    reason: ReasonOption,
    context: ContextOption = None,
) -> None:
    """Open one sample; the decision log says who did and why."""
    with reported(), connect(context) as manager:
        record, parts = manager.samples.view(_meant(manager, sample), reason)
        fileio.make_folder(folder)
        content = asdict(record) | {
            "tensors": [{**asdict(part), "data": len(part.data)} for part in parts]
        }
        fileio.replace(folder / "sample.json", json.dumps(content, indent=2, default=str).encode())
        for number, part in enumerate(parts):
            _write(folder / f"{part.kind}-{number}", part.datatype, part.shape, part.data)
    typer.echo(f"wrote {folder}: {len(parts)} tensors")


@app.command()
def delete(sample: str, reason: ReasonOption, context: ContextOption = None) -> None:
    """Delete one sample before its time."""
    with reported(), connect(context) as manager:
        manager.samples.delete(_meant(manager, sample), reason)


def whole_id(ids: Iterable[str], text: str) -> str:
    """The one id that begins so, or the text as it is; raises SealaneError when several do."""
    found = [each for each in ids if each.startswith(text)]
    if len(found) > 1:
        raise SealaneError(
            f"{len(found)} samples begin with {text!r}", hint="give more of its digits"
        )
    return found[0] if found else text


def _meant(manager: Operator, text: str) -> str:
    whole = len(text) == _ID_CHARS
    return text if whole else whole_id((each.id for each in manager.samples.list()), text)


def _order(wish: SampleWish, reason: str, context: Path | None) -> None:
    with reported(), connect(context) as manager:
        ordered = manager.samples.order(wish, reason)
    typer.echo(counted(len(ordered.devices)))
    if ordered.slot_unknown and wish.lasts:
        warn_of_slot(wish.slot)


def _write(path: Path, datatype: str, shape: tuple[int, ...], data: bytes) -> None:
    """As .npy; what has no such form as it is."""
    try:
        fileio.replace(path.with_suffix(".npy"), npy(datatype, shape, data))
    except SampleError:
        fileio.replace(path.with_suffix(".bin"), data)
