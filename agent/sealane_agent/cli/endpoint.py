"""`sealane-agent endpoint`: serves models; needs no supervisor."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sealane.limits import MIB
from sealane.lossy_stream import STDERR, LossyStream

from sealane_agent.cli.configured import add_option, configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.spared import HASHES, collect_what_is_new, share_refusals, spared
from sealane_agent.upgrade.folder import ENDPOINT, UpgradeFolder
from sealane_agent.upgrade.launch import launch
from sealane_agent.upgrade.starts import well

if TYPE_CHECKING:
    import argparse

    from sealane_agent.layout import StateFolder

_NEEDED: Final = ("ssl", HASHES)
"""uvloop imports the one, which brings the OpenSSL of the other."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "endpoint", help="serve the last known good models and what the supervisor activates"
    )
    add_state(parser)
    add_option(parser, "--rest", "endpoint.rest")
    add_option(parser, "--grpc", "endpoint.grpc")
    add_option(parser, "--socket", "endpoint.socket")
    add_option(parser, "--metrics-compat", "endpoint.metrics")
    parser.add_argument(
        "--rest-fd", type=int, help="number of a socket that listens already, instead of --rest"
    )
    parser.add_argument("--no-telemetry", action="store_true", help="record nothing about requests")
    parser.set_defaults(handler=_serve)


def _serve(arguments: argparse.Namespace) -> int:
    with spared(*_NEEDED):
        from sealane_agent.oip.metrics import Names  # noqa: PLC0415 - the same
        from sealane_agent.serving.app import (  # noqa: PLC0415 - other commands load no engine code
            EndpointSettings,
            run,
        )
        from sealane_agent.serving.worker_limits import Wish  # noqa: PLC0415 - the same

    share_refusals()
    collect_what_is_new()
    said = LossyStream(STDERR)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=said)
    settings = configured(arguments)
    state = state_folder(arguments)
    if settings["upgrade.by"] == "rollout":
        launch(state, ENDPOINT, sys.argv[1:], 0)
    return run(
        EndpointSettings(
            state.root,
            str(settings["endpoint.rest"]),
            str(settings["endpoint.grpc"]),
            arguments.rest_fd,
            Path(str(settings["endpoint.socket"])) if settings["endpoint.socket"] else None,
            telemetry=bool(settings["telemetry.record"]) and not arguments.no_telemetry,
            repository=bool(settings["endpoint.repository"]),
            shared_memory=bool(settings["endpoint.shared_memory"]),
            metrics=Names(str(settings["endpoint.metrics"])),
            together=int(settings["worker.together"]) * MIB,
            wish=Wish(int(settings["worker.memory"]) * MIB, int(settings["worker.processors"])),
            listens=lambda: _is_well(state),
        )
    )


def _is_well(state: StateFolder) -> None:
    """A version whose endpoint listens has proved what an endpoint must."""
    folder = UpgradeFolder(state)
    folder.write_starts(ENDPOINT, well(folder.starts(ENDPOINT)))
