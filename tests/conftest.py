"""Settings of every test: hypothesis judges what code does, never how fast the machine is."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import attack_counts, crash_counts, figures, passed, rollout_counts

# Each process of a parallel run shares its core with others: slow generation is no fault there.
# Continuous integration judges a change, not the dice: it sees the same examples each time, while
# every other run looks further.
settings.register_profile(
    "sealane",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("SEALANE_SAME_EXAMPLES")),
)
settings.load_profile("sealane")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two runs of the same tests in two environments need not run one twice."""
    group = parser.getgroup("sealane")
    group.addoption("--note-passed", type=Path, help="if all pass, write which did to this file")
    group.addoption("--without-passed", type=Path, help="leave out what such a file names")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has passed elsewhere."""
    file = config.getoption("--without-passed")
    names = passed.noted(file) if file else frozenset()
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in names])
    items[:] = [item for item in items if item.nodeid not in names]


def pytest_collection_finish() -> None:
    """Modules and tests live to the end: no collection of garbage looks through them again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print how many cases and attacks there were, and what tests measured; note what passed."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for counts in (crash_counts, attack_counts, rollout_counts, figures):
        for line in counts.lines(reports):
            terminalreporter.write_line(line)
    note, without = config.getoption("--note-passed"), config.getoption("--without-passed")
    if note and exitstatus == pytest.ExitCode.OK:
        passed.note(note, terminalreporter.stats["passed"])
    if without:
        terminalreporter.write_line(f"passed before, left out here: {len(passed.noted(without))}")
