"""Rollouts as files through the real command line and a real manager, as a pipeline runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import verify_evidence
from sealane_manager.cli.main import app
from support.manager import running_manager
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.manager import RunningManager
    from typer.testing import Result

    Sealane = Callable[..., Result]

FILE = """\
sealane: rollout/v1
name: {name}
release: demo/tiny@1
slot: cam
selector: pipeline={name}
stages: [1, 50%, 100%]
soak: 1h
reason: better recall
"""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder = tmp_path_factory.mktemp("manager")
    with running_manager(folder) as running:
        running.publish(folder, 1)
        yield running


@pytest.fixture
def sealane(manager: RunningManager) -> Sealane:
    def run(*arguments: str, typed: str = "") -> Result:
        environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
        return CliRunner().invoke(app, arguments, env=environment, input=typed)

    return run


def applied(sealane: Sealane, file: Path) -> tuple[str, str]:
    done = sealane("apply", "-f", str(file), "-o", "json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    return row["outcome"], row["id"]


def rollouts(sealane: Sealane) -> dict[str, str]:
    return {
        row["id"]: row["state"] for row in json.loads(sealane("rollout", "list", "-ojson").stdout)
    }


def written(folder: Path, name: str, *more: str) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(FILE.format(name=name) + "".join(f"{line}\n" for line in more))
    return file


def test_a_pipeline_may_apply_the_same_file_as_often_as_it_runs(
    manager: RunningManager, sealane: Sealane, tmp_path: Path
) -> None:
    manager.enrolled("often", {"pipeline": "often"})
    file = written(tmp_path, "often")

    new = sealane("diff", "-f", str(file))
    first = applied(sealane, file)
    before = rollouts(sealane)
    again = applied(sealane, file)
    same = sealane("diff", "-f", str(file))
    typed = sealane("apply", "-f", "-", typed=file.read_text())
    sealane("rollout", "abort", "often", "--reason", "enough")
    after_its_end = applied(sealane, file)

    assert new.exit_code == 5
    assert first[0] == "started"
    assert again == ("unchanged", first[1]) == after_its_end
    assert (same.exit_code, same.stdout) == (0, "")
    assert "unchanged" in typed.stdout
    assert rollouts(sealane).keys() == before.keys()


def test_a_changed_file_is_refused_until_it_says_that_it_takes_over(
    manager: RunningManager, sealane: Sealane, tmp_path: Path
) -> None:
    manager.enrolled("changed", {"pipeline": "changed"})
    _, old = applied(sealane, written(tmp_path, "changed"))

    file = written(tmp_path, "changed", "gate: {max_failed: 2}")
    differs = sealane("diff", "-f", str(file))
    refused = sealane("apply", "-f", str(file))
    assert rollouts(sealane)[old] == "running"
    file = written(tmp_path, "changed", "gate: {max_failed: 2}", "on_conflict: supersede")
    outcome, new = applied(sealane, file)

    assert differs.exit_code == 5
    assert "gate.max_failed" in differs.stdout
    assert refused.exit_code == 3
    assert "gate.max_failed 0 → 2" in refused.output
    assert "on_conflict: supersede" in refused.output
    assert outcome == "superseded"
    assert (rollouts(sealane)[old], rollouts(sealane)[new]) == ("superseded", "running")
    assert applied(sealane, file) == ("unchanged", new)


def test_what_a_rollout_shows_as_yaml_is_a_file_that_changes_nothing(
    manager: RunningManager, sealane: Sealane, tmp_path: Path
) -> None:
    manager.enrolled("shown", {"pipeline": "shown"})
    started = sealane(
        *("rollout", "start", "demo/tiny@1", "--slot", "cam", "--selector", "pipeline=shown"),
        *("--stages", "1,50%", "--soak", "90s", "--dry-run", "latency", "--alpha", "0.02"),
        *("--limit", "site=2", "--at-once", "3", "--ramp", "2", "--approvals", "1", "--join"),
        *("--start-at", "2031-01-01T06:00+01:00", "--deadline", "2d", "--freeze", "2031-02-01"),
        *("--on-failure", "pause", "--on-conflict", "queue", "--by-evidence", "--prove"),
        *("--split", "50%", "--split-for", "30m", "-ojson"),
    )
    rollout = json.loads(started.stdout)["id"]
    file = tmp_path / "shown.yaml"

    file.write_text(sealane("rollout", "show", rollout, "-o", "yaml").stdout)

    assert f"name: {rollout}" in file.read_text()
    assert "mode: dry_run" in file.read_text()
    assert sealane("diff", "-f", str(file)).exit_code == 0
    assert applied(sealane, file) == ("unchanged", rollout)


def test_a_mistake_in_a_file_is_one_line_with_its_place_and_starts_nothing(
    sealane: Sealane, tmp_path: Path
) -> None:
    before = rollouts(sealane)
    file = written(tmp_path, "wrong", "gate:", "  max_faild: 1")

    done = sealane("apply", "-f", str(file))

    assert done.exit_code == 1
    assert f"error: {file}:10:3: 'max_faild' means nothing here" in done.output
    assert "known are alpha," in done.output
    assert rollouts(sealane) == before
    assert sealane("apply", "-f", str(tmp_path / "none.yaml")).exit_code == 1


def test_a_name_stands_for_the_last_rollout_that_has_it(
    manager: RunningManager, sealane: Sealane, tmp_path: Path
) -> None:
    manager.enrolled("named-box", {"pipeline": "named"})
    _, rollout = applied(sealane, written(tmp_path, "named"))

    assert json.loads(sealane("rollout", "show", "named", "-ojson").stdout)["id"] == rollout
    assert sealane("gate", "explain", "named").exit_code == 1  # it has judged nothing yet
    assert sealane("rollout", "abort", "named").exit_code == 0


def test_what_proves_a_rollout_is_exported_and_holds(
    manager: RunningManager, sealane: Sealane, tmp_path: Path
) -> None:
    manager.enrolled("proved", {"pipeline": "proved"})
    applied(sealane, written(tmp_path, "proved"))
    sealane("rollout", "abort", "proved")

    done = sealane("rollout", "evidence", "export", "proved", str(tmp_path / "evidence"))
    again = sealane("rollout", "evidence", "export", "proved", str(tmp_path / "evidence"))
    page = tmp_path / "report.html"
    reported = sealane("rollout", "report", "proved", "-o", str(page))

    assert done.exit_code == 0, done.output
    assert "0 receipts" in done.stdout
    verify_evidence.check(tmp_path / "evidence", None)
    assert again.exit_code == 1
    assert "is not empty" in again.output
    assert reported.exit_code == 0, reported.output
    assert "demo/tiny@1 in cam" in page.read_text()
    assert "asked for it" in page.read_text()


def test_an_id_of_no_rollout_is_no_name(sealane: Sealane, tmp_path: Path) -> None:
    done = sealane("apply", "-f", str(written(tmp_path, "r-0badcafe")))
    assert done.exit_code == 1
    assert "there is no rollout r-0badcafe" in done.output
