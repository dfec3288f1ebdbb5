"""Adds up what the requests of one place came to, over its life: for statistics and metrics.

Pure: times come in as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealane.telemetry.types import ErrorKind


class Totals:
    """Counts and seconds that only grow.

    Attributes:
        answered, seconds: requests that the place answered, from their arrival to their answer.
        rows: in the answered requests.
        calls: of the engine; with batching fewer than requests.
        waited_s, computed_s: the parts of `seconds` before and after the worker took the request.
        failed, failed_s: requests that it did not answer, by the reason.
        last_s: when it answered last, by `time.perf_counter`; 0 when never.
    """

    __slots__ = (
        "answered",
        "calls",
        "computed_s",
        "failed",
        "failed_s",
        "last_s",
        "rows",
        "seconds",
        "waited_s",
    )

    def __init__(self) -> None:
        self.answered = self.rows = self.calls = 0
        self.seconds = self.waited_s = self.computed_s = self.failed_s = self.last_s = 0.0
        self.failed: dict[ErrorKind, int] = {}

    def answer(self, now_s: float, seconds: float, rows: int) -> None:
        """Add one request that was answered now, so many seconds after it came."""
        self.answered += 1
        self.last_s = now_s
        self.seconds += seconds
        self.rows += rows

    def fail(self, kind: ErrorKind, seconds: float) -> None:
        """Add one that was not answered."""
        self.failed[kind] = self.failed.get(kind, 0) + 1
        self.failed_s += seconds
