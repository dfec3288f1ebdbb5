"""`sealane-agent status`: what this device does; works without manager, supervisor and endpoint."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.overview import Overview, look

if TYPE_CHECKING:
    import argparse

    from sealane_agent.overview import SlotOverview


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="show what this device does")
    add_state(parser)
    parser.add_argument("--output", "-o", choices=("text", "json"), default="text")
    parser.add_argument(
        "--json", action="store_const", dest="output", const="json", help="print JSON"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="end with code 1 unless the supervisor runs and the endpoint answers",
    )
    parser.set_defaults(handler=_status)


def _status(arguments: argparse.Namespace) -> int:
    overview = asyncio.run(look(state_folder(arguments)))
    if arguments.output == "json":
        sys.stdout.write(json.dumps(asdict(overview), indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(overview)) + "\n")
    well = overview.supervisor and overview.rest
    return 0 if well or not arguments.check else 1


def _lines(overview: Overview) -> list[str]:
    lines = [
        f"device      {overview.device} of fleet {overview.fleet}",
        f"manager     {overview.manager}",
        f"supervisor  {'runs' if overview.supervisor else 'does not run'}",
        f"endpoint    {overview.rest or 'does not answer'}",
        f"unsent      {overview.unsent} events",
    ]
    for slot in overview.slots:
        lines += ["", *slot_lines(slot)]
    return lines


def slot_lines(slot: SlotOverview) -> list[str]:
    """One slot for people, a line each."""
    lines = [
        f"slot        {slot.slot}: {slot.state}",
        f"  serves    {slot.serves or 'nothing'}  ({slot.requests} requests, {slot.errors} errors)",
        f"  last good {slot.last_good or 'none yet'}",
    ]
    if slot.chosen:
        lines.append(f"  variant   {slot.chosen}")
    if slot.degraded:
        lines.append(f"  degraded  {slot.degraded}")
    if slot.attempt:
        lines.append(f"  attempt   {slot.attempt}  {slot.rollout}".rstrip())
    if slot.reason:
        lines.append(f"  reason    {slot.reason}")
    return lines
