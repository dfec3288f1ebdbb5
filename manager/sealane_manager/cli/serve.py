"""`sealane serve`: run the manager of a state folder."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from sealane.lossy_stream import STDERR, LossyStream
from sealane.service import become_owner

from sealane_manager.cli.configured import ConfigOption  # noqa: TC001 - Typer reads annotations
from sealane_manager.cli.output import reported
from sealane_manager.layout import StateFolder

StateArgument = Annotated[Path, typer.Argument(help="folder that `sealane init` made")]


def command(
    state: StateArgument = Path("/var/lib/sealane"),
    config: ConfigOption = None,
    host: Annotated[
        str, typer.Option(help="name under which devices reach it; default: the first of `init`")
    ] = "",
    listen: Annotated[str, typer.Option(help="address to listen on; default: the host")] = "",
    fleet_port: Annotated[int, typer.Option(min=0, max=65535, help="devices; 0 is any")] = 7443,
    enrol_port: Annotated[int, typer.Option(min=0, max=65535, help="new devices")] = 7444,
    operator_port: Annotated[int, typer.Option(min=0, max=65535, help="operators")] = 7445,
    dashboard_port: Annotated[int, typer.Option(min=0, max=65535, help="dashboard, API")] = 8443,
    otlp_address: Annotated[
        str, typer.Option(help="push metrics there over OTLP/HTTP; default: nowhere")
    ] = "",
    otlp_every: Annotated[int, typer.Option(min=1, max=3600, help="seconds between pushes")] = 60,
    otlp_headers: Annotated[str, typer.Option(help="file with headers for the pushes")] = "",
    otlp_authority: Annotated[str, typer.Option(help="PEM file with the receiver's CA")] = "",
    intake_producers: Annotated[
        str, typer.Option(help="folder with public keys of producers who must have signed a bundle")
    ] = "",
) -> None:
    """Run the manager until SIGTERM or Ctrl-C."""
    del config  # it was read before the other options
    from sealane_manager.app import serve  # noqa: PLC0415 - a second that no other command waits
    from sealane_manager.intake import named_folder  # noqa: PLC0415 - the same
    from sealane_manager.metrics.push import Endpoint, read_headers  # noqa: PLC0415 - the same
    from sealane_manager.parts import ManagerSettings  # noqa: PLC0415 - the same

    form = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=LossyStream(STDERR))
    for chatty in ("alembic", "apscheduler", "tuf", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with reported():
        settings = ManagerSettings(
            state=StateFolder(state),
            host=host,
            listen=listen,
            fleet_port=fleet_port,
            enrol_port=enrol_port,
            operator_port=operator_port,
            dashboard_port=dashboard_port,
            otlp=Endpoint(
                address=otlp_address,
                every=timedelta(seconds=otlp_every),
                headers=read_headers(Path(otlp_headers)) if otlp_headers else {},
                authority=Path(otlp_authority) if otlp_authority else None,
            ),
            producers=named_folder(Path(intake_producers)) if intake_producers else None,
        )
        become_owner(state)
        asyncio.run(serve(settings))
