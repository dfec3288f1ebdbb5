"""What `sealane serve` takes from its configuration file and the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from sealane.settings import Catalogue, Key

from sealane_manager.cli.output import reported

_PORT: Final = 65535

MANAGER: Final = Catalogue(
    program="sealane",
    prefix="SEALANE",
    file="/etc/sealane/manager.toml",
    keys=(
        Key("state", "/var/lib/sealane", "folder that `sealane init` made"),
        Key("host", "", "name under which devices reach it; empty: the first of `init`"),
        Key("listen", "", "address to listen on; empty: the host"),
        Key("ports.fleet", 7443, "TCP port for devices; 0: any free", highest=_PORT),
        Key("ports.enrol", 7444, "TCP port for new devices; 0: any free", highest=_PORT),
        Key("ports.operator", 7445, "TCP port for operators; 0: any free", highest=_PORT),
        Key("ports.dashboard", 8443, "TCP port for dashboard and API; 0: any free", highest=_PORT),
        Key(
            "otlp.address",
            "",
            "where metrics are pushed to, without /v1/metrics; empty: nowhere",
            r"(https?://[^\s@]+)?",
            "http://… or https://…, without a name or password",
        ),
        Key("otlp.every", 60, "seconds between two pushes", highest=3600, lowest=1),
        Key("otlp.headers", "", "file with headers to send, `Name: value` a line; empty: none"),
        Key("otlp.authority", "", "PEM file with the receiver's authority; empty: the system's"),
        Key(
            "intake.producers",
            "",
            "folder with public keys of producers who must have signed a bundle; "
            "empty: nobody must",
        ),
    ),
)
"""Everything that can be set for a manager."""


def load(context: typer.Context, path: Path | None) -> Path | None:
    """Let options that were not given be what the file and the environment say."""
    with reported():
        found = MANAGER.load(path, os.environ)
    context.default_map = {_parameter(name): value for name, value in found.items()}
    return path


def demanded_producers() -> Path | None:
    """`intake.producers`, for commands on the manager's machine; raises ConfigurationError."""
    found = str(MANAGER.load(None, os.environ)["intake.producers"])
    return Path(found) if found else None


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        help=f"configuration file (environment {MANAGER.file_variable}, default {MANAGER.file})",
        callback=load,
        is_eager=True,
    ),
]


def check(
    config: Annotated[Path | None, typer.Argument(help="file, instead of the usual one")] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="print a file with every key")
    ] = False,
) -> None:
    """Check the manager's configuration and show it."""
    if defaults:
        typer.echo(MANAGER.document(), nl=False)
        return
    with reported():
        found = MANAGER.load(config, os.environ)
    for name, value in found.items():
        typer.echo(f"{name} = {value}")


def _parameter(name: str) -> str:
    """`ports.fleet` is the option --fleet-port, `otlp.address` is --otlp-address."""
    table, _, key = name.rpartition(".")
    if table == "ports":
        return f"{key}_port"
    return f"{table}_{key}" if table else key
