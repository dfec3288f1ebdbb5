"""`sealane-agent history|logs`: what happened here, and what the agent said."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealane.errors import InvalidName
from sealane.names import parse_slot

from sealane_agent.cli.configured import configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import IdentityFiles
from sealane_agent.diagnosis import logs
from sealane_agent.log import plain_line
from sealane_agent.slot.journal import looked_into
from sealane_agent.zone import device_zone

if TYPE_CHECKING:
    from datetime import tzinfo

    from sealane_agent.diagnosis.loglines import LogLine
    from sealane_agent.slot.history import Line

MOST = 10_000


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add both commands."""
    history = subparsers.add_parser("history", help="show what happened in the slots, oldest first")
    history.set_defaults(handler=_history)
    said = subparsers.add_parser("logs", help="show what the agent said, oldest first")
    said.add_argument("--file", type=Path, help="file of its log, instead of systemd's journal")
    said.add_argument("--endpoint", action="store_true", help="the endpoint's log that `run` keeps")
    said.set_defaults(handler=_logs)
    for parser in (history, said):
        add_state(parser)
        parser.add_argument("--slot", type=_slot, default="", help="this slot only")
        parser.add_argument("--lines", type=_count, default=100, help="how many (default 100)")
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MOST):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number from 1 to {MOST}")
    return int(text)


def _slot(text: str) -> str:
    try:
        return parse_slot(text) if text else ""
    except InvalidName as error:
        raise argparse.ArgumentTypeError(f"{error}: {error.hint}") from error


def _history(arguments: argparse.Namespace) -> int:
    folder = state_folder(arguments)
    IdentityFiles(folder.identity).read()
    zone = device_zone(str(configured(arguments)["clock.zone"]))
    with looked_into(folder.journal) as journal:
        lines = journal.history(arguments.slot, arguments.lines)
    for line in lines:
        _write(_object(line) if arguments.json else _text(line, zone))
    return 0


def _object(line: Line) -> str:
    return json.dumps(asdict(line) | {"at": line.at.isoformat()})


def _text(line: Line, zone: tzinfo) -> str:
    at = line.at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    words = (at, line.slot or "every slot", line.event, line.release, line.rollout, line.reason)
    return "  ".join(word for word in words if word)


def _logs(arguments: argparse.Namespace) -> int:
    for line in logs.newest(_said(arguments), arguments.slot, arguments.lines):
        _write(_log_object(line) if arguments.json else _log_text(line))
    return 0


def _said(arguments: argparse.Namespace) -> list[LogLine]:
    if arguments.file is not None:
        return logs.of_file(arguments.file)
    if arguments.endpoint:
        return logs.of_file(state_folder(arguments).endpoint_log)
    most = MOST if arguments.slot else arguments.lines
    return logs.of_journal(most)  # as whoever called: its files are not the service's to read


def _log_object(line: LogLine) -> str:
    return json.dumps({"at": line.at, "event": line.event, **line.fields})


def _log_text(line: LogLine) -> str:
    head = {"at": line.at} if line.at else {}
    return plain_line({**head, "event": line.event, **line.fields})


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
