"""`sealane device hold|holds|release|rollback`: what devices are ordered beside releases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.names import parse_device, parse_slot

from sealane_manager.cli.arguments import parse_end
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, emit_one, reported, warn_of_slot
from sealane_manager.cli.table import counted
from sealane_manager.hold_order import HoldWish

if TYPE_CHECKING:
    from sealane_manager.hold_order import HoldOrder

_COLUMNS = ("id", "for", "slot", "until", "owner", "reason")

ReasonOption = Annotated[str, typer.Option(help="why, for everybody who waits and for the log")]


def hold(
    target: Annotated[str, typer.Argument(help="a device, or a selector: site=berlin")],
    until: Annotated[str, typer.Option(help="2h, 3d, or a moment: 2026-11-27T22:00+01:00")],
    reason: ReasonOption,
    slot: Annotated[str, typer.Option(help="this slot only (default: all)")] = "",
    context: ContextOption = None,
) -> None:
    """Activate nothing on these devices until a time; they obey it offline too.

    Devices that match the selector later are held back too. A roll-back is never held back.
    """
    end = parse_end(until, datetime.now(UTC))
    with reported(), connect(context) as manager:
        placed = manager.orders.hold(HoldWish(target, slot, end, reason))
    order = placed.order
    typer.echo(f"{order.hold.id} holds {counted(placed.devices)} until {_moment(order)}")
    if placed.slot_unknown:
        warn_of_slot(slot)


def release(
    hold_id: Annotated[str, typer.Argument(metavar="HOLD", help="as `device holds` shows it")],
    reason: Annotated[str, typer.Option(help="why, for the log")] = "",
    context: ContextOption = None,
) -> None:
    """End a hold before its time."""
    with reported(), connect(context) as manager:
        devices = manager.orders.release(hold_id, reason)
    typer.echo(f"{hold_id} is released; told: {counted(devices)}")


def holds(
    device: Annotated[str, typer.Argument(help="only those that hold this device back")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """List the holds that were ordered here and have not ended, the next to end first."""
    with reported(), connect(context) as manager:
        emit([row(each) for each in manager.orders.holds(device)], _COLUMNS, output)


def rollback(
    device: str,
    slot: str,
    reason: ReasonOption,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Bring back what a slot of one device served before: a rollout of its own, to be watched."""
    with reported(), connect(context) as manager:
        place = parse_device(device), parse_slot(slot)
        rollout, found = manager.orders.roll_back(*place, reason)
        emit_one({"rollout": rollout, "release": found, "device": device, "slot": slot}, output)


def row(order: HoldOrder) -> dict[str, Any]:
    """One hold, for people."""
    hold = order.hold
    return {
        "id": hold.id,
        "for": order.selector,
        "slot": hold.slot,
        "until": _moment(order),
        "owner": hold.owner,
        "reason": hold.reason,
    }


def text(order: HoldOrder) -> str:
    """One hold of a device, in one line."""
    hold = order.hold
    where = f"slot {hold.slot}" if hold.slot else "every slot"
    return f"{where} until {_moment(order)}, {hold.owner}: {hold.reason}"


def _moment(order: HoldOrder) -> str:
    return f"{order.hold.until:%Y-%m-%dT%H:%M:%SZ}"


def add_to(app: typer.Typer) -> None:
    """Add the four commands to `sealane device`."""
    for command in (hold, holds, release, rollback):
        app.command()(command)
