"""`sealane gate backtest` through the real command line, on telemetry that devices sent."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.types import ErrorKind, TelemetryAck, TelemetryBatch, Window
from sealane_manager.cli.main import app
from support.manager import running_manager
from support.telemetry import plain_window
from typer.testing import CliRunner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.manager import RunningManager
    from typer.testing import Result

HOURS = 34
BOXES = 8


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    folder: Path = tmp_path_factory.mktemp("manager")
    begun = int(time.time()) // 3600 * 3600 - HOURS * 3600
    with running_manager(folder) as running:
        for number in range(BOXES):
            device = running.enrolled(f"box-{number}")
            windows = [_hour(begun + 3600 * hour, 3 + (hour + number) % 3) for hour in range(HOURS)]
            with device.session() as session:
                session.greet()
                batch = TelemetryBatch("boot-1", 1, encode_windows(windows))
                assert session.ask(batch) == TelemetryAck("boot-1", 1)
        yield running


def _hour(start: int, bad: int) -> Window:
    window = plain_window(600)
    (model,) = window.models
    failed = replace(model, errors={ErrorKind.FAILED: bad})
    return replace(window, start=start, seconds=3600, models=(failed,))


def run(manager: RunningManager, *arguments: str) -> Result:
    environment = {"SEALANE_CONTEXT": str(manager.state.operator)}
    return CliRunner().invoke(app, ("gate", "backtest", *arguments), env=environment)


def test_a_fleet_hears_its_own_rate_and_the_smallest_harm_that_would_be_found(
    manager: RunningManager,
) -> None:
    flags = ("--slot", "cam", "--last", "3d", "--treated", "3", "--hours", "3", "--runs", "40")
    table = run(manager, *flags)
    first = run(manager, *flags, "-o", "json")
    again = run(manager, *flags, "-o", "json")

    assert table.exit_code == 0, table.output
    assert "stopped for nothing: 0.0% (below 7.5%); agreed: 1.0%" in table.stdout
    assert "smallest harm found in 80%:" in table.stdout
    found = json.loads(first.stdout)
    assert found["placebo"]["runs"] == 40
    assert found["harm"][-1]["share"] == 1.0
    assert found["smallest_detectable"] in {1.5, 2.0, 3.0, 5.0, 10.0}
    assert again.stdout == first.stdout


def test_where_too_little_was_reported_it_says_what_was_looked_for(
    manager: RunningManager,
) -> None:
    short = run(manager, "--slot", "cam", "--last", "12h")
    large = run(manager, "--slot", "cam", "--last", "3d", "--treated", "7")
    assert short.exit_code == large.exit_code == 1
    assert "no 4 hours were found" in short.output
    assert "9 devices answered in cam" in large.output
