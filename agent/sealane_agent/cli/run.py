"""`sealane-agent run`: the supervisor."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from sealane_agent.cli.configured import add_option, configured
from sealane_agent.cli.folder import add_state, state_folder
from sealane_agent.config import RunSettings
from sealane_agent.spared import collect_what_is_new, share_refusals, spared

with spared():
    from sealane_agent.upgrade.fitness import Rules
    from sealane_agent.upgrade.folder import AGENT
    from sealane_agent.upgrade.launch import launch, relaunch
    from sealane_agent.upgrade.launched import Launched, Relaunch

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from sealane.settings import Value

    from sealane_agent.layout import StateFolder


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
    settings, environment = configured(arguments), dict(os.environ)
    folder = state_folder(arguments)
    upgrade = _rules(settings)
    if upgrade is not None:
        launch(folder, AGENT, sys.argv[1:], upgrade.deadline_s)
    launched = Launched.of(os.environ)
    with spared():
        from sealane_agent.app import run  # noqa: PLC0415 - other commands need no gRPC

    share_refusals()
    collect_what_is_new()
    try:
        run(_settings(arguments, settings, folder, (upgrade, launched)))
    except Relaunch:
        relaunch(launched, environment)
    return 0


def _rules(settings: Mapping[str, Value]) -> Rules | None:
    if settings["upgrade.by"] != "rollout":
        return None
    return Rules(settings["upgrade.downgrade"] is True, int(settings["upgrade.deadline"]))


def _settings(
    arguments: argparse.Namespace,
    settings: Mapping[str, Value],
    folder: StateFolder,
    upgrade: tuple[Rules | None, Launched],
) -> RunSettings:
    return RunSettings(
        folder=folder,
        rest=str(settings["endpoint.rest"]),
        grpc=str(settings["endpoint.grpc"]),
        external_endpoint=arguments.external_endpoint,
        config=arguments.config,
        log=str(settings["log.form"]),
        telemetry=bool(settings["telemetry.record"]) and not arguments.no_telemetry,
        metered=settings["link.profile"] == "metered",
        link=str(settings["link.by"]),
        rate_kb=int(settings["link.rate"]),
        zone=str(settings["clock.zone"]),
        upgrade=upgrade[0],
        launched=upgrade[1],
    )
