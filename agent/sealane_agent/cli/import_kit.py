"""`sealane-agent import`: takes up a kit that somebody carried to this device."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sealane.errors import KitError

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import IdentityFiles
from sealane_agent.errors import Refused, Unreachable
from sealane_agent.line.client import ask

if TYPE_CHECKING:
    import argparse

    from sealane_agent.layout import StateFolder


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("import", help="take up a kit: a release without network")
    parser.add_argument("kit", type=Path, help="the file that `sealane kit export` made")
    add_state(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(handler=_import)


def _opened(path: Path) -> BinaryIO:
    """A file; of anything else there might be no end, or no beginning."""
    if not path.is_file() and path.exists():
        raise KitError(f"{path} is no file", hint="name the kit, not a folder or a device")
    return path.open("rb")


def _taken_up(folder: StateFolder) -> dict[str, str]:
    """What the agent makes of the kit on the shelf, slot by slot; raises Unreachable or Refused."""
    slots: dict[str, str] = ask(folder.line_socket, {"import_kit": True})["slots"]
    return slots


def _import(arguments: argparse.Namespace) -> int:
    from sealane_agent.kit.shelf import Shelf  # noqa: PLC0415 - other commands need no TUF
    from sealane_agent.store import Store  # noqa: PLC0415 - the same

    # Opened before root goes on as the service's user, who may not read the medium.
    with _opened(arguments.kit) as file:
        folder = state_folder(arguments)
        who = IdentityFiles(folder.identity).read()
        shelf = Shelf(folder)
        if shelf.waits():
            with suppress(Unreachable, Refused):  # that one has its answer first
                _taken_up(folder)
        index = shelf.put(file, who.device, Store(folder))
    try:
        slots = _taken_up(folder)
    except Unreachable as error:
        slots = {}
        sys.stderr.write(f"{error}: the kit is taken up when the agent runs\n")
    answer = {"kit": index.id, "until": index.until.isoformat(), "slots": slots}
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        sys.stdout.write(f"{index.id}, valid until {index.until:%Y-%m-%d %H:%M} UTC\n")
        sys.stdout.writelines(f"{slot}: {said}\n" for slot, said in slots.items())
    return 0
