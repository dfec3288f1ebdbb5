"""Counts latencies in a base-2 exponential histogram of scale 3: 9 % wide buckets, bounded.

The buckets are those of OpenTelemetry's exponential histogram, so histograms of different windows,
workers and devices merge by addition. Pure: times come in as values.
"""

from __future__ import annotations

import math
from typing import Final

SCALE: Final = 3
"""Buckets a doubling: 2**3, each 9 % wider than the one below."""

BUCKETS: Final = 256
"""From 1 µs to 2**32 µs (71 minutes); what lies outside counts at the nearest end."""


class Histogram:
    """How many values (in microseconds) fell into each bucket."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self.count = 0

    def record(self, value: float) -> None:
        """Count one value; anything below 1 counts as 1."""
        self._counts[_bucket(value)] += 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Add everything that the other one counted."""
        self._counts = [mine + its for mine, its in zip(self._counts, other._counts, strict=True)]
        self.count += other.count

    def quantile(self, share: float) -> int:
        """The value below which this share of the counted ones lies, within 5 %; 0 when empty."""
        wanted = math.ceil(share * self.count)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _middle(bucket)
        return 0


def _bucket(value: float) -> int:
    if value <= 1:
        return 0
    return min(BUCKETS - 1, int(math.log2(value) * 2**SCALE))


def _middle(bucket: int) -> int:
    return round(2 ** ((bucket + 0.5) / 2**SCALE))
