"""The option that names the state folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.service import become_owner

from sealane_agent.cli.configured import add_config, add_option, configured
from sealane_agent.layout import StateFolder

if TYPE_CHECKING:
    import argparse

SOCKET_PATH_BYTES: Final = 107
"""The longest path that Linux gives a unix socket."""


def add_state(parser: argparse.ArgumentParser) -> None:
    """Add `--state` and `--config`."""
    add_option(parser, "--state", "state")
    add_config(parser)


def state_folder(arguments: argparse.Namespace) -> StateFolder:
    """The folder that was named; root goes on as its owner.

    Raises InvalidName when the sockets in it would have longer paths than a socket can have.
    """
    folder = StateFolder(Path(str(configured(arguments)["state"])).absolute())
    room = SOCKET_PATH_BYTES - len(os.fsencode(folder.inference_socket))
    if room < 0:
        most = len(os.fsencode(folder.root)) + room
        raise InvalidName(
            f"the state folder's path is too long: its sockets leave room for {most} bytes",
            hint="choose a shorter one with --state",
        )
    become_owner(folder.root)
    return folder
