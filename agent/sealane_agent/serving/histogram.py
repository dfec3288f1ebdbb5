"""Counts latencies one by one on the grid of `sealane.telemetry.histogram`, within fixed memory.

What a slot's places are compared by since their activation; windows of telemetry are counted apart,
many requests at once. Pure: times come in as values.
"""

from __future__ import annotations

from typing import Final

from sealane.telemetry import histogram

_LONGEST: Final = 2.0**32
"""In microseconds: 71 minutes; what took longer counts as that long."""

_LOWEST: Final = histogram.bucket(1)
_BUCKETS: Final = histogram.bucket(_LONGEST) - _LOWEST + 1


class Histogram:
    """How many values (in microseconds) fell into each bucket; below 1 counts as 1."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0

    def record(self, value: float) -> None:
        """Count one value."""
        kept = min(max(value, 1.0), _LONGEST)
        self._counts[histogram.bucket(kept) - _LOWEST] += 1
        self.count += 1

    def at_most(self, limit: float) -> int:
        """How many of the counted values are so small, on the grid of the buckets."""
        counted = histogram.Histogram(offset=_LOWEST, counts=tuple(self._counts))
        return self.count - counted.above(limit)

    def quantile(self, share: float) -> int:
        """The value below which this share of the counted ones lies, within 2.2 %; 0 when empty."""
        counted = histogram.Histogram(offset=_LOWEST, counts=tuple(self._counts))
        return round(counted.quantile(share))
