"""The option that names the state folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sealane.service import become_owner

from sealane_agent.cli.configured import add_config, add_option, configured
from sealane_agent.layout import StateFolder

if TYPE_CHECKING:
    import argparse


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add `--state` and `--config`."""
    add_option(parser, "--state", "state")
    add_config(parser)


def state_folder(arguments: argparse.Namespace) -> StateFolder:
    """The folder that was named; root goes on as its owner."""
    folder = StateFolder(Path(str(configured(arguments)["state"])).absolute())
    become_owner(folder.root)
    return folder
