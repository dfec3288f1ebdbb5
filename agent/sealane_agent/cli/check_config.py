"""`sealane-agent check-config`: says what is set, or which lines of the file are wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.configured import configured
from sealane_agent.config import AGENT

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("check-config", help="check the configuration and show it")
    parser.add_argument("config", nargs="?", type=Path, help="file, instead of the usual one")
    parser.add_argument("--defaults", action="store_true", help="print a file with every key")
    parser.set_defaults(handler=_check)


def _check(arguments: argparse.Namespace) -> int:
    if arguments.defaults:
        sys.stdout.write(AGENT.document())
        return 0
    for name, value in configured(arguments).items():
        sys.stdout.write(f"{name} = {value}\n")
    return 0
