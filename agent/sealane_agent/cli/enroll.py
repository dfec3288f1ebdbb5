"""`sealane-agent enroll`: makes this machine a device of a fleet."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealane.limits import JOIN_TOKEN_CHARS
from sealane.trust.token import JoinToken

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import IdentityFiles
from sealane_agent.identity.enroll import APPROVAL_PAUSE_S, Enrolment, Waiting
from sealane_agent.identity.keys import store_named

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("enroll", help="make this machine a device, with a join token")
    token = parser.add_mutually_exclusive_group(required=True)
    token.add_argument("--token", help="what `sealane device token` printed; - reads it from stdin")
    token.add_argument("--token-file", type=Path, help="file that holds it, such as a credential")
    parser.add_argument("--name", default="", help="the name to ask for; else the manager chooses")
    parser.add_argument(
        "--key-store",
        default="",
        help="PKCS #11 URI of a token (HSM, TPM) that shall hold the key; else a file does",
    )
    parser.add_argument(
        "--if-needed", action="store_true", help="do nothing on a machine that is enrolled"
    )
    add_state(parser)
    parser.set_defaults(handler=_enroll)


def _enroll(arguments: argparse.Namespace) -> int:
    folder = state_folder(arguments)
    if arguments.if_needed and IdentityFiles(folder.identity).description.exists():
        sys.stdout.write("enrolled already\n")
        return 0
    token = JoinToken.parse(_text(arguments))
    store = store_named(arguments.key_store)
    found = Enrolment(folder, store=store, wait=_wait()).run(token, arguments.name)
    sys.stdout.write(f"enrolled as device {found.device} of fleet {found.fleet}\n")
    sys.stdout.write(f"next: sealane-agent run --state {folder.root}\n")
    return 0


def _wait() -> Callable[[Waiting], None]:
    """Say once what to do, then ask now and then."""
    told: list[Waiting] = []

    def wait(for_what: Waiting) -> None:
        if not told:
            told.append(for_what)
            name, key = for_what.device, for_what.fingerprint
            sys.stdout.write(f"waits for approval as device {name}, key {key}\n")
            sys.stdout.write(f"next: sealane device approve {name}\n")
            sys.stdout.flush()
        time.sleep(APPROVAL_PAUSE_S)

    return wait


def _text(arguments: argparse.Namespace) -> str:
    path: Path | None = arguments.token_file
    if path is not None:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(JOIN_TOKEN_CHARS + 2)
    given = str(arguments.token)
    if given != "-":
        return given
    return sys.stdin.buffer.read(JOIN_TOKEN_CHARS + 2).decode(errors="replace")
