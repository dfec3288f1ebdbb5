"""`sealane window`: when devices may fetch and activate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.policy import Commit, Trigger

from sealane_manager.cli.arguments import parse_duration
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.schedule import Schedule, checked

if TYPE_CHECKING:
    from datetime import timedelta

app = typer.Typer(no_args_is_help=True, help="When devices may fetch and activate.")

ReasonOption = Annotated[str, typer.Option(help="why, for the log")]

_COLUMNS = ("name", "selector", "download", "activation", "trigger", "commit", "lease")


@app.callback()
def window() -> None:
    """When devices may fetch and activate."""


@app.command("list")
def list_schedules(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List schedules: the devices that each holds for, and its windows."""
    with reported(), connect(context) as manager:
        emit([_row(each, output) for each in manager.list_schedules()], _COLUMNS, output)


@app.command("set")
def set_schedule(
    name: str,
    selector: Annotated[str, typer.Option(help="for these devices: site=berlin")] = "",
    download: Annotated[
        list[str] | None, typer.Option(help="window, on the device's clock: mon-fri 22:00-05:00")
    ] = None,
    activation: Annotated[
        list[str] | None, typer.Option(help="window, on the device's clock: sun 01:00-05:00")
    ] = None,
    trigger: Annotated[
        Trigger, typer.Option(help="what a staged release waits for: now (no window), …")
    ] = Trigger.WINDOW,
    commit: Annotated[
        Commit, typer.Option(help="what makes it the last known good one")
    ] = Commit.LOCAL_HEALTH,
    lease: Annotated[
        str, typer.Option(help="how long a device may activate offline: 12h, 7d")
    ] = "0s",
    interrupt: Annotated[
        bool, typer.Option(help="a slot may serve nobody while what fits only alone is loaded")
    ] = False,
    reason: ReasonOption = "",
    context: ContextOption = None,
) -> None:
    """Add or replace a schedule; every device that it means obeys it, offline too."""
    with reported():
        schedule = checked(
            Schedule(
                name,
                selector,
                tuple(download or ()),
                tuple(activation or ()),
                trigger,
                commit,
                parse_duration(lease),
                interrupts=interrupt,
            )
        )
        with connect(context) as manager:
            manager.put_schedule(schedule, reason)


@app.command("remove")
def remove_schedule(name: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """Take a schedule away."""
    with reported(), connect(context) as manager:
        manager.remove_schedule(name, reason)


def _row(schedule: Schedule, output: Format) -> dict[str, Any]:
    row = asdict(schedule) | {"lease": _hours(schedule.lease)}
    if output is Format.TABLE:
        for name in ("download", "activation"):
            row[name] = "; ".join(row[name]) or "any time"
        row["trigger"] += ", interrupts" if schedule.interrupts else ""
    return row


def _hours(lease: timedelta) -> str:
    return f"{lease.total_seconds() / 3600:g}h" if lease else ""
