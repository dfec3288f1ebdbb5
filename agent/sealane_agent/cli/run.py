"""`sealane-agent run`: the supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sealane_agent.cli.configured import add_option, configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import RunSettings

if TYPE_CHECKING:
    import argparse


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("run", help="keep the slots as the manager wants them")
    add_state(parser)
    add_option(parser, "--rest", "endpoint.rest")
    add_option(parser, "--grpc", "endpoint.grpc")
    parser.add_argument(
        "--external-endpoint",
        action="store_true",
        help="the endpoint is kept by something else, such as systemd",
    )
    parser.add_argument(
        "--no-telemetry", action="store_true", help="record and send nothing about requests"
    )
    add_option(parser, "--log", "log.form")
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> int:
    from sealane_agent.app import run  # noqa: PLC0415 - other commands need no gRPC

    settings = configured(arguments)
    run(
        RunSettings(
            folder=state_folder(arguments),
            rest=str(settings["endpoint.rest"]),
            grpc=str(settings["endpoint.grpc"]),
            external_endpoint=arguments.external_endpoint,
            config=arguments.config,
            log_json=settings["log.form"] == "json",
            telemetry=bool(settings["telemetry.record"]) and not arguments.no_telemetry,
            metered=settings["link.profile"] == "metered",
            rate_kb=int(settings["link.rate"]),
            zone=str(settings["clock.zone"]),
        )
    )
    return 0
