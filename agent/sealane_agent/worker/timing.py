"""Decides how long a variant is timed: no longer than it takes to see that it has lost. Pure.

Its golden outputs are proved before, all of them.
"""

from __future__ import annotations

from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_agent.serving.messages import Bar

MEASURED_RUNS: Final = 50
MEASURED_US: Final = 300_000
LEAST_RUNS: Final = 3

EARLY_US: Final = 50_000
"""Before so much time was spent nothing has lost: a processor may be away for a moment."""

CLEARLY: Final = 1.3
"""Times the bar that even the fastest inference takes, or by which rows are too few."""


def is_timed(taken_us: Sequence[int], bar: Bar) -> bool:
    """Whether these inferences were enough."""
    if len(taken_us) < LEAST_RUNS:
        return False
    spent = len(taken_us) >= MEASURED_RUNS or sum(taken_us) >= MEASURED_US
    return spent or is_too_slow(taken_us, bar)


def is_too_slow(taken_us: Sequence[int], bar: Bar) -> bool:
    """Whether a variant whose inferences took so long has lost, whatever the next ones take."""
    enough = len(taken_us) >= LEAST_RUNS and sum(taken_us) >= EARLY_US
    return bool(bar.latency_us) and enough and min(taken_us) > CLEARLY * bar.latency_us


def has_too_few_rows(rows_per_s: float, bar: Bar) -> bool:
    """Whether a variant that computes so many rows a second has lost."""
    return CLEARLY * rows_per_s < bar.rows_per_s


def middle_us(taken_us: Sequence[int]) -> int:
    """The median, 1 at least."""
    return max(1, round(median(taken_us)))


def p95_us(taken_us: Sequence[int]) -> int:
    """The smallest of them that 95 of 100 do not exceed, 1 at least."""
    return max(1, sorted(taken_us)[ceil(0.95 * len(taken_us)) - 1])
