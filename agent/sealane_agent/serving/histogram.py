"""Counts latencies on the grid of `sealane.telemetry.histogram`, within fixed memory.

What a slot's places are compared by since their activation; windows of telemetry are counted apart.
Pure: times come in as values.
"""

from __future__ import annotations

from array import array
from typing import Final

import numpy as np
from sealane.telemetry import histogram

from sealane_agent.serving.folding import buckets

FOLD: Final = 1024
"""Values that wait to be counted together: one by one each would cost ten times as much."""

_LONGEST: Final = 2.0**32
"""In microseconds: 71 minutes; what took longer counts as that long."""

_LOWEST: Final = histogram.bucket(1)
_BUCKETS: Final = histogram.bucket(_LONGEST) - _LOWEST + 1


class Histogram:
    """How many values (in microseconds) fell into each bucket; below 1 counts as 1."""

    __slots__ = ("_counts", "_waiting")

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self._waiting = array("d")

    def record(self, value: float) -> None:
        """Count one value."""
        self._waiting.append(value)
        if len(self._waiting) >= FOLD:
            self._fold()

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self._read().count

    def at_most(self, limit: float) -> int:
        """How many of the counted values are so small, on the grid of the buckets."""
        counted = self._read()
        return counted.count - counted.above(limit)

    def quantile(self, share: float) -> int:
        """The value below which this share of the counted ones lies, within 2.2 %; 0 when empty."""
        return round(self._read().quantile(share))

    def _read(self) -> histogram.Histogram:
        self._fold()
        return histogram.Histogram(offset=_LOWEST, counts=tuple(self._counts.tolist()))

    def _fold(self) -> None:
        values = np.clip(np.array(self._waiting), 1.0, _LONGEST)
        del self._waiting[:]
        self._counts += np.bincount(buckets(values) - _LOWEST, minlength=_BUCKETS)
