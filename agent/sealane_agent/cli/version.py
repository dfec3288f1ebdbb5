"""`sealane-agent version`: which version this is, and whether all of it can be imported."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

from sealane_agent.packages import agent_version

if TYPE_CHECKING:
    import argparse

_PROCESSES: Final = (
    *("sealane_agent.app", "sealane_agent.serving.app", "sealane_agent.worker.host"),
    "sealane_agent.upgrade.unpack",  # the supervisor's, when a version comes
)


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("version", help="say which version this is")
    parser.add_argument(
        "--imports", action="store_true", help="first import what every process of it imports"
    )
    parser.set_defaults(handler=_say)


def _say(arguments: argparse.Namespace) -> int:
    for module in _PROCESSES if arguments.imports else ():
        importlib.import_module(module)
    sys.stdout.write(f"{agent_version()}\n")
    return 0
