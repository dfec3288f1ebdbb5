"""`sealane calendar`: when rollouts give places at a site."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealane_manager.calendars import Calendar, checked, closed
from sealane_manager.cli.arguments import parse_freeze
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.rollout.notation import freeze_text

if TYPE_CHECKING:
    from collections.abc import Iterable

app = typer.Typer(no_args_is_help=True, help="When rollouts give places at a site.")

ReasonOption = Annotated[str, typer.Option("--reason", help="why, for the log")]

_COLUMNS = ("name", "selector", "zone", "hours", "now")


@app.command("list")
def list_calendars(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List calendars: whom each means, and whether it is open now."""
    with reported(), connect(context) as manager:
        now = datetime.now(UTC)
        emit([_row(each, output, now) for each in manager.calendars.list()], _COLUMNS, output)


@app.command("set")
def set_calendar(
    name: str,
    selector: Annotated[str, typer.Option(help="for these devices: site=berlin")] = "",
    zone: Annotated[str, typer.Option(help="of the site, like Europe/Berlin")] = "UTC",
    hours: Annotated[
        list[str] | None, typer.Option(help="open in the week: mon-fri 22:00-05:00")
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(help="closed on these days: 2026-12-24..2027-01-02")
    ] = None,
    holiday: Annotated[
        list[str] | None, typer.Option(help="closed on this day of every year: 12-25")
    ] = None,
    reason: ReasonOption = "",
    context: ContextOption = None,
) -> None:
    """Add or replace a calendar; rollouts that keep to it do from now on."""
    freezes = tuple(parse_freeze(text) for text in freeze or ())
    with reported():
        made = Calendar(name, selector, zone, tuple(hours or ()), freezes, tuple(holiday or ()))
        with connect(context) as manager:
            manager.calendars.put(checked(made), reason)


@app.command("remove")
def remove_calendar(name: str, reason: ReasonOption = "", context: ContextOption = None) -> None:
    """Take a calendar away."""
    with reported(), connect(context) as manager:
        manager.calendars.remove(name, reason)


def _row(calendar: Calendar, output: Format, now: datetime) -> dict[str, Any]:
    why = closed(calendar, now)
    days: Iterable[str] = map(freeze_text, calendar.freezes)
    row = asdict(calendar) | {"freezes": list(days), "now": why.words if why else "open"}
    if output is Format.TABLE:
        row["hours"] = "; ".join(calendar.hours) or "any time"
    return row
