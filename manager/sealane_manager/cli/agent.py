"""`sealane agent`: versions of the agent itself, released like models."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import Annotated

import typer

from sealane_manager.bundle.agent import AgentOrder, pack_agent
from sealane_manager.cli.output import Format, OutputOption, emit_one, reported

app = typer.Typer(no_args_is_help=True, help="Versions of the agent itself, released like models.")


@app.callback()
def agent() -> None:
    """Versions of the agent itself, released like models."""


@app.command()
def pack(
    tree: Annotated[
        Path, typer.Argument(help="a version's folder, from usr/lib/sealane-agent of its package")
    ],
    out: Annotated[Path, typer.Option(help="new folder for the bundle")],
    arch: Annotated[
        str, typer.Option(help="machines that it is for, as `uname -m` says")
    ] = "x86_64",
    probation_seconds: Annotated[
        float, typer.Option(min=0, max=3600, help="how long a device watches it before keeping it")
    ] = 60.0,
    output: OutputOption = Format.TABLE,
) -> None:
    """Make a bundle of a version of the agent; `sealane bundle publish` releases it."""
    with reported():
        manifest, contract = pack_agent(AgentOrder(tree, out, arch, probation_seconds))
        row = {
            "folder": str(out),
            "version": contract.version,
            "arch": contract.arch,
            "python": contract.python,
            "digest": manifest.digest,
            "bytes": sum(layer.size for layer in manifest.layers),
            "probation": f"{contract.probation_s:g} s",
        }
        emit_one(row, output)
