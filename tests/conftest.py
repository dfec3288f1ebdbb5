"""Settings of every test: hypothesis judges what code does, never how fast the machine is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from support import attack_counts, crash_counts, figures, rollout_counts

if TYPE_CHECKING:
    import pytest

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases and attacks there were, and what tests measured."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for counts in (crash_counts, attack_counts, rollout_counts, figures):
        for line in counts.lines(reports):
            terminalreporter.write_line(line)
