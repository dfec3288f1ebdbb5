"""`sealane-agent enroll`: makes this machine a device of a fleet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sealane.limits import JOIN_TOKEN_CHARS
from sealane.trust.token import JoinToken

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.enroll import Enrolment

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("enroll", help="make this machine a device, with a join token")
    parser.add_argument(
        "--token", required=True, help="what `sealane device token` printed; - reads it from stdin"
    )
    parser.add_argument("--name", default="", help="the name to ask for; else the manager chooses")
    add_state(parser)
    parser.set_defaults(handler=_enroll)


def _enroll(arguments: argparse.Namespace) -> int:
    text = arguments.token
    token = JoinToken.parse(sys.stdin.read(JOIN_TOKEN_CHARS + 2) if text == "-" else text)
    folder = state_folder(arguments)
    found = Enrolment(folder).run(token, arguments.name)
    sys.stdout.write(f"enrolled as device {found.device} of fleet {found.fleet}\n")
    sys.stdout.write(f"next: sealane-agent run --state {folder.root}\n")
    return 0
