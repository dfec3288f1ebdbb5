"""`sealane export`: files for the tools that an enterprise has already."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealane_manager.cli.arguments import parse_moment
from sealane_manager.cli.context import ContextOption, connect
from sealane_manager.cli.output import reported
from sealane_manager.export import columns, files
from sealane_manager.export.columns import Table
from sealane_manager.export.files import Format
from sealane_manager.metrics.grafana import dashboards
from sealane_manager.metrics.rules import rules
from sealane_manager.rollout_file.schema import schema
from sealane_manager.rpc.exports import COHORTS, DEVICES
from sealane_manager.store.telemetry.records import Span

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    no_args_is_help=True, help="Files for Prometheus, Grafana, editors and whatever reads tables."
)


class Of(StrEnum):
    """Whose windows."""

    DEVICES = DEVICES
    COHORTS = COHORTS


FolderArgument = Annotated[Path, typer.Argument(help="where to write; made when it is missing")]


@app.callback()
def export() -> None:
    """Files for Prometheus, Grafana, editors and whatever reads tables."""


@app.command("rules")
def export_rules(folder: FolderArgument = Path()) -> None:
    """Write recording and alerting rules for Prometheus."""
    _write(folder, {"sealane-rules.yml": rules()})


@app.command("grafana")
def export_grafana(folder: FolderArgument = Path()) -> None:
    """Write dashboards for Grafana."""
    _write(folder, dashboards())


@app.command("schema")
def export_schema(folder: FolderArgument = Path()) -> None:
    """Write the JSON schema of rollout files, for editors and pipelines."""
    _write(folder, {"rollout.schema.json": schema()})


@app.command("telemetry")
def export_telemetry(
    file: Annotated[Path, typer.Argument(help="where to write; replaced when it is there")],
    form: Annotated[Format, typer.Option("--format", help="csv or parquet")] = Format.CSV,
    table: Annotated[Table, typer.Option(help="models, inputs or hosts")] = Table.MODELS,
    of: Annotated[Of, typer.Option(help="single devices, or cohorts added up")] = Of.DEVICES,
    selector: Annotated[str, typer.Option(help="which devices; all without one")] = "",
    since: Annotated[str, typer.Option(help="so long ago (24h), or 2026-05-04T12:00")] = "24h",
    until: Annotated[str, typer.Option(help="the same; now without it")] = "",
    context: ContextOption = None,
) -> None:
    """Write stored telemetry as a table; docs/export.md explains the columns."""
    now = datetime.now(UTC)
    span = Span(parse_moment(since, now), parse_moment(until, now) if until else _second(now) + 1)
    with reported(), connect(context) as manager:
        found = manager.exports.telemetry(of, span, selector)
        rows = (row for stored in found for row in columns.rows(table, stored))
        count = files.write(file, form, table, rows)
    typer.echo(f"wrote {file}: {count} rows")


def _second(moment: datetime) -> int:
    return int(moment.timestamp())


def _write(folder: Path, files: Mapping[str, object]) -> None:
    with reported():
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            typer.echo(f"wrote {folder / name}")
