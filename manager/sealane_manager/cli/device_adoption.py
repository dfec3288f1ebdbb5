"""`sealane device unknown|adopt`: machines of the fleet that this manager no longer knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from sealane.names import parse_device

from sealane_manager.cli.arguments import parse_labels
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import Format, OutputOption, emit, reported
from sealane_manager.identity.knocks import Adoption

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_manager.views import UnknownDevice

_COLUMNS = ("device", "key", "certified", "first", "last")


def unknown(output: OutputOption = Format.TABLE, context: ContextOption = None) -> None:
    """List machines with a certificate of this fleet that called and are not known here.

    They were enrolled after the backup from which this manager was put back.
    """
    with reported(), connect(context) as manager:
        emit([_row(each) for each in manager.orders.unknown()], _COLUMNS, output)


def adopt(
    device: Annotated[str, typer.Argument(help="as `device unknown` shows it")],
    reason: Annotated[str, typer.Option(help="how you know that it may, for the log")],
    label: Annotated[list[str] | None, typer.Option(help="key=value, for the device")] = None,
    key: Annotated[str, typer.Option(help="first digits of its key, where two have one name")] = "",
    context: ContextOption = None,
) -> None:
    """Make a machine that called a device again, with its own key and what it serves.

    It comes within five minutes. First be sure that it was not revoked after the backup: this
    manager cannot know. A name that it knows, revoked or not, is never given away like this.
    """
    labels = parse_labels(label or [])
    with reported(), connect(context) as manager:
        manager.orders.adopt(Adoption(parse_device(device), key, labels, reason))


def _row(found: UnknownDevice) -> dict[str, Any]:
    return {
        "device": found.device,
        "key": found.key,
        "certified": _moment(found.certified),
        "first": _moment(found.first),
        "last": _moment(found.last),
    }


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def add_to(app: typer.Typer) -> None:
    """Add the two commands to `sealane device`."""
    for command in (unknown, adopt):
        app.command()(command)
