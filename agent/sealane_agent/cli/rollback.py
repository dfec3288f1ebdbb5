"""`sealane-agent rollback`: somebody at the line wants the release before, now."""

from __future__ import annotations

import getpass
import json
import sys
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.line.client import ask

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "rollback", help="let a slot go back to the release before, without the manager"
    )
    parser.add_argument("--slot", required=True, help="which")
    parser.add_argument("--reason", required=True, help="why, for everybody who asks")
    parser.add_argument("--owner", default="", help="who (default: you)")
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_roll_back)


def _roll_back(arguments: argparse.Namespace) -> int:
    asked = {
        "slot": arguments.slot,
        "owner": arguments.owner or getpass.getuser(),
        "reason": arguments.reason,
    }
    answer = ask(state_folder(arguments).line_socket, {"roll_back": asked})
    sys.stdout.write(f"{json.dumps(answer, indent=2) if arguments.json else _line(answer)}\n")
    return 0


def _line(answer: dict[str, str]) -> str:
    said = f"{answer['slot']}: {answer['from'] or 'nothing'} -> {answer['to'] or 'nothing'}"
    return f"{said} ({answer['state']}); the manager is told when it is reached"
