"""The option that names the state folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.service import become_owner

from sealane_agent.layout import StateFolder

if TYPE_CHECKING:
    import argparse

VARIABLE: Final = "SEALANE_AGENT_STATE"
DEFAULT: Final = "/var/lib/sealane-agent"


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add `--state`."""
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get(VARIABLE, DEFAULT)),
        help=f"the agent's state folder (environment {VARIABLE}, default {DEFAULT})",
    )


def state_folder(arguments: argparse.Namespace) -> StateFolder:
    """The folder that was named; root goes on as its owner."""
    folder = StateFolder(Path(arguments.state).absolute())
    become_owner(folder.root)
    return folder
