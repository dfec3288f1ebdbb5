"""`sealane alert`: what is wrong with the fleet, who takes care of it, and whom it is told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sealane_manager.alerts.types import (
    AlertFilter,
    AlertState,
    Quiet,
    Severity,
)
from sealane_manager.cli.arguments import parse_duration
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Exit, Format, OutputOption, emit, emit_one, reported

if TYPE_CHECKING:
    from sealane_manager.alerts.types import Alert

app = typer.Typer(no_args_is_help=True, help="What is wrong with the fleet, and who knows.")
channels = typer.Typer(no_args_is_help=True, help="Whom alerts are told.")
app.add_typer(channels, name="channels")

_COLUMNS = ("severity", "state", "rule", "subject", "site", "since", "text")
_SILENCE_COLUMNS = ("id", "rule", "site", "subject", "until", "by", "reason")
_CHANNEL_COLUMNS = ("name", "kind", "waiting", "dead", "problem")


@app.command("list")
def list_alerts(
    rule: Annotated[str, typer.Option(help="only of this rule")] = "",
    site: Annotated[str, typer.Option(help="only at this site")] = "",
    severity: Annotated[Severity | None, typer.Option(help="only of this severity")] = None,
    text: Annotated[str, typer.Option(help="only whose text holds this")] = "",
    state: Annotated[
        list[AlertState] | None,
        typer.Option(help="in this state, repeatable; default: open and acknowledged"),
    ] = None,
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """List alerts, the latest first."""
    wanted = AlertFilter(rule, site, severity or "", text, tuple(state or ()))
    with reported(), connect(context) as manager:
        rows = [_row(alert) for alert in manager.alerts.list(wanted)]
    emit(rows, _COLUMNS, output)


@app.command()
def show(
    rule: str, subject: str, output: OutputOption = Format.TABLE, context: ContextOption = None
) -> None:
    """Show one alert, whatever its state."""
    with reported(), connect(context) as manager:
        emit_one(_row(manager.alerts.get(rule, subject)), output)


@app.command()
def ack(
    rule: str,
    subject: str,
    reason: Annotated[str, typer.Option(help="why, for the decision log")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Take care of an alert: everybody sees who does."""
    with reported(), connect(context) as manager:
        emit_one(_row(manager.alerts.acknowledge(rule, subject, reason)), output)


@app.command()
def silence(
    reason: Annotated[str, typer.Option(help="why, for everybody who wonders")],
    lasts: Annotated[str, typer.Option("--for", help="how long: 30m, 4h, 2d")],
    rule: Annotated[str, typer.Option(help="of this rule; any without one")] = "",
    site: Annotated[str, typer.Option(help="at this site; any without one")] = "",
    subject: Annotated[str, typer.Option(help="of this subject; any without one")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Tell nobody of matching alerts for a while; what is still wrong then is told."""
    quiet = Quiet(rule, site, subject, parse_duration(lasts))
    with reported(), connect(context) as manager:
        emit_one(asdict(manager.alerts.silence(quiet, reason)), output)


@app.command()
def silences(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List the silences that hold now, the first to end first."""
    with reported(), connect(context) as manager:
        rows = [asdict(each) for each in manager.alerts.silences()]
        emit(rows, _SILENCE_COLUMNS, output)


@app.command()
def unsilence(
    silence: str,
    reason: Annotated[str, typer.Option(help="why, for the decision log")] = "",
    context: ContextOption = None,
) -> None:
    """End a silence before its time."""
    with reported(), connect(context) as manager:
        manager.alerts.end_silence(silence, reason)


@channels.command("list")
def list_channels(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List the channels of `alerts.json`, with what waits for each and what it last failed at."""
    with reported(), connect(context) as manager:
        rows = [asdict(channel) for channel in manager.alerts.channels()]
        emit(rows, _CHANNEL_COLUMNS, output)


@channels.command("test")
def try_channels(
    name: Annotated[str, typer.Argument(help="of one channel; all without it")] = "",
    output: OutputOption = Format.TABLE,
    context: ContextOption = None,
) -> None:
    """Send a test notice through channels and say what came of it; exit code 1 when one failed."""
    with reported(), connect(context) as manager:
        found = manager.alerts.test_channels(name)
    rows = [
        {"name": each.name, "kind": each.kind, "sent": not each.problem, "problem": each.problem}
        for each in found
    ]
    emit(rows, ("name", "kind", "sent", "problem"), output)
    if any(each.problem for each in found):
        raise typer.Exit(Exit.FAILED)


def _row(alert: Alert) -> dict[str, Any]:
    fields = asdict(alert)
    return {**fields.pop("finding"), **fields}
