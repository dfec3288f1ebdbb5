"""`sealane-agent doctor|verify`: what is wrong here and what to do; is all that serves whole."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import IdentityFiles
from sealane_agent.diagnosis.findings import EXIT_CODES, worst

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from sealane_agent.diagnosis.findings import Finding


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add both commands."""
    doctor = subparsers.add_parser(
        "doctor",
        help="look at clock, certificates, disk, runtimes, slots and the way to the manager",
    )
    doctor.set_defaults(handler=_doctor)
    verify = subparsers.add_parser(
        "verify", help="hash and verify again, offline, all that a slot needs"
    )
    verify.set_defaults(handler=_verify)
    for parser in (doctor, verify):
        add_state(parser)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.epilog = "ends with 0 when all is well, 5 with warnings, 1 when something failed"


def _doctor(arguments: argparse.Namespace) -> int:
    from sealane_agent.diagnosis import doctor, reach  # noqa: PLC0415 - other commands need no gRPC
    from sealane_agent.uplink.rpc import greet  # noqa: PLC0415 - the same

    folder = state_folder(arguments)
    way = reach.Way(reach.resolve, reach.connect, reach.handshake, greet)
    return _say(arguments, doctor.examine(folder, way))


def _verify(arguments: argparse.Namespace) -> int:
    from sealane_agent.diagnosis.integrity import verify  # noqa: PLC0415 - TUF is slow to import

    folder = state_folder(arguments)
    IdentityFiles(folder.identity).read()
    return _say(arguments, verify(folder))


def _say(arguments: argparse.Namespace, findings: Iterable[Finding]) -> int:
    """Text as it is found, JSON at the end."""
    found = []
    for each in findings:
        found.append(each)
        if not arguments.json:
            sys.stdout.write(f"{_text(each)}\n")
            sys.stdout.flush()
    level = worst(found)
    if arguments.json:
        answer = {"level": level, "findings": [asdict(each) for each in found]}
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return EXIT_CODES[level]


def _text(each: Finding) -> str:
    line = f"{each.level:<8} {each.check}: {each.says}"
    return f"{line}\n         do: {each.hint}" if each.hint else line
