"""`sealane-agent run`: the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import RunSettings

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("run", help="keep the slots as the manager wants them")
    add_state(parser)
    parser.add_argument(
        "--rest", default="127.0.0.1:8000", help="host:port of the REST door; port 0: any free"
    )
    parser.add_argument(
        "--grpc", default="127.0.0.1:8001", help="host:port of the gRPC door; port 0: any free"
    )
    parser.add_argument(
        "--external-endpoint",
        action="store_true",
        help="the endpoint is kept by something else, such as systemd",
    )
    parser.add_argument(
        "--no-telemetry", action="store_true", help="record and send nothing about requests"
    )
    parser.add_argument("--log", choices=("text", "json"), default="text", help="form of log lines")
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> int:
    from sealane_agent.app import run  # noqa: PLC0415 - other commands need no gRPC

    run(
        RunSettings(
            folder=state_folder(arguments),
            rest=arguments.rest,
            grpc=arguments.grpc,
            external_endpoint=arguments.external_endpoint,
            log_json=arguments.log == "json",
            telemetry=not arguments.no_telemetry,
        )
    )
    return 0
