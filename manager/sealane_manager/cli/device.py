"""`sealane device`: the machines of the fleet."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.fleet import SlotReport
from sealane.limits import MIB
from sealane.names import AGENT_SLOT, parse_device, parse_label

from sealane_manager.cli import device_adoption, device_orders
from sealane_manager.cli.arguments import parse_bounded, parse_labels
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, emit_one, reported
from sealane_manager.errors import NotKnown
from sealane_manager.identity.enrolment import MAX_LIFETIME, MAX_USES, MIN_LIFETIME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane_manager.hold_order import HoldOrder
    from sealane_manager.views import DeviceView

app = typer.Typer(no_args_is_help=True, help="The machines of the fleet.")
device_orders.add_to(app)
device_adoption.add_to(app)

_COLUMNS = ("id", "labels", "connected", "serving", "last_seen")


@app.command("list")
def list_devices(
    selector: Annotated[str, typer.Option(help="only these: site=berlin,line!=3")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """List devices: who they are, whether they hold a session, what they serve."""
    with reported(), connect(context) as manager:
        devices = manager.list_devices(selector)
        rows = [_row(device) for device in devices]
        if output is Format.TABLE:
            rows = [_line(device) for device in devices]
        emit(rows, _COLUMNS, output)


@app.command()
def show(device: str, output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """Show one device, its facts and each of its slots."""
    with reported(), connect(context) as manager:
        wanted = parse_device(device)
        found = next((each for each in manager.list_devices() if each.id == wanted), None)
        if found is None:
            raise NotKnown(f"there is no device {device}", hint="see `sealane device list`")
        _emit_held(found, manager.orders.holds(wanted), output)


@app.command()
def token(
    label: Annotated[list[str] | None, typer.Option(help="key=value, for the new device")] = None,
    uses: Annotated[
        int, typer.Option(min=1, max=MAX_USES, help="how many machines may use it")
    ] = 1,
    lifetime: Annotated[
        str, typer.Option(help="how long it is valid: 30m, 24h, 7d; at most 90d")
    ] = "24h",
    approval: Annotated[
        bool, typer.Option("--approval", help="each device waits until it is approved")
    ] = False,
    context: ContextOption = None,
) -> None:
    """Make a join token: one paste turns a machine into a device of this fleet."""
    labels = parse_labels(label or [])
    valid_for = parse_bounded(lifetime, MIN_LIFETIME, MAX_LIFETIME)
    with reported(), connect(context) as manager:
        labels = dict(parse_label(key, value) for key, value in labels.items())
        typer.echo(manager.create_join_token(labels, uses, valid_for, approval=approval))


@app.command("label")
def label_device(
    device: str,
    labels: Annotated[list[str], typer.Argument(help="key=value sets, key- removes")],
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Set or remove labels of a device."""
    remove = [text[:-1] for text in labels if text.endswith("-") and "=" not in text]
    wanted = parse_labels([text for text in labels if "=" in text or not text.endswith("-")])
    with reported(), connect(context) as manager:
        found = manager.label_device(parse_device(device), wanted, remove)
        _emit_device(found, output)


@app.command()
def approve(
    device: str,
    reason: Annotated[str, typer.Option(help="why, for the decision log")] = "",
    context: ContextOption = None,
) -> None:
    """Admit a device that waits; compare its key's fingerprint first (`sealane audit list`)."""
    with reported(), connect(context) as manager:
        manager.approve_device(parse_device(device), reason)


@app.command()
def revoke(
    device: str,
    reason: Annotated[str, typer.Option(help="why, for the log")],
    context: ContextOption = None,
) -> None:
    """End a device's membership: its session ends now, its models keep serving."""
    with reported(), connect(context) as manager:
        manager.revoke_device(parse_device(device), reason)


def _emit_device(device: DeviceView, output: Format) -> None:
    emit_one(_flat(device) if output is Format.TABLE else _row(device), output)


def _emit_held(device: DeviceView, holds: Sequence[HoldOrder], output: Format) -> None:
    if output is Format.TABLE:
        lines = {f"hold {each.hold.id}": device_orders.text(each) for each in holds}
        emit_one(_flat(device) | lines, output)
    else:
        emit_one(_row(device) | {"holds": [device_orders.row(each) for each in holds]}, output)


def _line(device: DeviceView) -> dict[str, Any]:
    """One line of a list; a device that is no member now says so in the place of its session."""
    connected = device.connected if device.state == "active" else device.state
    kept = replace(device, slots=_telling(device.slots))
    return _row(kept) | {"labels": _labels(device.labels), "connected": connected}


def _telling(slots: Sequence[SlotReport]) -> tuple[SlotReport, ...]:
    """Without the slot of the agent's own versions where none was ever rolled out to."""
    return tuple(each for each in slots if each != SlotReport(AGENT_SLOT, "idle"))


def _row(device: DeviceView) -> dict[str, Any]:
    serving = ", ".join(f"{slot.slot}: {slot.active_release or '-'}" for slot in device.slots)
    seen = f"{device.last_seen:%Y-%m-%dT%H:%M:%SZ}" if device.last_seen else ""
    return asdict(device) | {"last_seen": seen, "serving": serving}


def _flat(device: DeviceView) -> dict[str, Any]:
    row = _row(device)
    for key in ("facts", "slots", "serving"):
        del row[key]
    row["labels"] = _labels(device.labels)
    slots = {f"slot {slot.slot}": _slot(slot) for slot in _telling(device.slots)}
    return row | _facts(device) | slots


def _facts(device: DeviceView) -> dict[str, Any]:
    facts = device.facts
    if facts is None:
        return {}
    runtimes = (f"{r.name} {r.version} ({', '.join(r.accelerators)})" for r in facts.runtimes)
    lost = {f"{r.name} lost {name}": why for r in facts.runtimes for name, why in r.lost}
    return {
        "machine": f"{facts.arch}, {facts.cpus} CPUs, {facts.memory_bytes // MIB} MiB, {facts.os}",
        "runtimes": ", ".join(runtimes),
        "endpoint": facts.endpoint,
        **lost,
    }


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _slot(slot: SlotReport) -> str:
    line = f"{slot.state}, serves {slot.active_release or 'nothing'}"
    if slot.chosen:
        line += f" by {slot.chosen}"
    if slot.attempt_release not in {"", slot.active_release}:
        line += f", tries {slot.attempt_release}"
    if slot.degraded:
        line += f", degraded: {slot.degraded}"
    if slot.failure:
        line += f", failed in {slot.failure.phase}: {slot.failure.message}"
    return line
