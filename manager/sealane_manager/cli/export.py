"""`sealane export`: files for the tools that an enterprise has already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealane_manager.cli.output import reported
from sealane_manager.metrics.grafana import dashboards
from sealane_manager.metrics.rules import rules

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(no_args_is_help=True, help="Files for Prometheus and Grafana.")

FolderArgument = Annotated[Path, typer.Argument(help="where to write; made when it is missing")]


@app.callback()
def export() -> None:
    """Files for Prometheus and Grafana."""


@app.command("rules")
def export_rules(folder: FolderArgument = Path()) -> None:
    """Write recording and alerting rules for Prometheus."""
    _write(folder, {"sealane-rules.yml": rules()})


@app.command("grafana")
def export_grafana(folder: FolderArgument = Path()) -> None:
    """Write dashboards for Grafana."""
    _write(folder, dashboards())


def _write(folder: Path, files: Mapping[str, object]) -> None:
    with reported():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            typer.echo(f"wrote {folder / name}")
