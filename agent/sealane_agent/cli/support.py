"""`sealane-agent support`: an archive for whoever shall help, without secrets."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.configured import configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import IdentityFiles
from sealane_agent.errors import NotEnrolled
from sealane_agent.layout import StateFolder

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from sealane.settings import Value

    from sealane_agent.diagnosis.findings import Finding


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "support", help="write what helps to understand this device, without secrets"
    )
    add_state(parser)
    parser.add_argument(
        "--output", "-o", type=Path, help="file (default: support-DEVICE-TIME.tar.gz)"
    )
    parser.set_defaults(handler=_support)


def _support(arguments: argparse.Namespace) -> int:
    from sealane_agent.diagnosis import (  # noqa: PLC0415 - other commands need no gRPC
        doctor,
        integrity,
        reach,
        support,
    )
    from sealane_agent.uplink.rpc import greet  # noqa: PLC0415 - the same

    config = configured(arguments)
    named = f"support-{_device(config)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    path = arguments.output or Path(named)
    way = reach.Way(reach.resolve, reach.connect, reach.handshake, greet)
    # Before root goes on as the service's user, who may neither read the journal nor write here.
    said = support.log_text()
    with support.begin(path) as file:
        folder = state_folder(arguments)
        looks: dict[str, Callable[[], Iterable[Finding]]] = {
            "doctor": lambda: doctor.examine(folder, way),
            "verify": lambda: integrity.verify(folder),
        }
        support.write(file, support.parts(folder, config, looks, said))
    sys.stdout.write(f"{path}\n")
    return 0


def _device(config: Mapping[str, Value]) -> str:
    """Its name, as far as that can be read; raises NotEnrolled where no device is."""
    files = IdentityFiles(StateFolder(Path(str(config["state"]))).identity)
    try:
        return files.read().device
    except NotEnrolled:
        if files.description.exists():  # damaged: the more there is to look at
            return "unknown"
        raise
