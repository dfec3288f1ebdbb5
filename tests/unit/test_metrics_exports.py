"""Rules and dashboards speak of what is exported, and of nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from sealane.telemetry import names
from sealane_manager.cli.main import app
from sealane_manager.metrics.grafana import dashboards
from sealane_manager.metrics.rules import rules
from support.debian import needs
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

EXPORTED = {value for value in vars(names).values() if str(value).startswith("sealane_")}


def metrics_in(document: object) -> set[str]:
    found = set(re.findall(r"\bsealane_\w+", json.dumps(document)))
    return {name.removesuffix("_bucket") for name in found}


@pytest.mark.parametrize("document", [rules(), *dashboards().values()])
def test_only_exported_metrics_are_named(document: object) -> None:
    assert metrics_in(document)
    assert metrics_in(document) <= EXPORTED


def test_every_recorded_series_that_is_used_is_recorded() -> None:
    every = [rule for group in rules()["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in every if "record" in rule}
    used = set(re.findall(r"\bsealane:[\w:]+", json.dumps(every)))
    assert used == recorded


def test_panels_lie_side_by_side_and_have_queries() -> None:
    for dashboard in dashboards().values():
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
        assert len(set(places)) == len(places)
        assert all(panel["targets"] for panel in dashboard["panels"])


def test_files_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    run = CliRunner()
    assert run.invoke(app, ["export", "rules", str(tmp_path / "new")]).exit_code == 0
    assert run.invoke(app, ["export", "grafana", str(tmp_path)]).exit_code == 0

    assert json.loads((tmp_path / "new" / "sealane-rules.yml").read_text()) == rules()
    assert {path.name for path in tmp_path.glob("*.json")} == set(dashboards())


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    CliRunner().invoke(app, ["export", "rules", str(tmp_path)])

    checked = subprocess.run(
        [needs("promtool"), "check", "rules", str(tmp_path / "sealane-rules.yml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "9 rules found" in checked.stdout
