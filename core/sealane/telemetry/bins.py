"""Counts in the reference bins of a signed bundle: a distribution that merges by addition.

A bundle's `ReferenceBins` give the edges; a value belongs to the bin after the last edge that is
not above it. Bins of the same release have the same edges, so they are added bin by bin, and what
a device counted is comparable with the producer's data and with every other device.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_BINS: Final = 64
"""Of one input: references with more are not counted."""

CONFIDENCE_BINS: Final = 20
"""Of equal width from 0 to 1; a confidence of 1 counts in the last."""

CONFIDENCE_EDGES: Final = tuple(edge / CONFIDENCE_BINS for edge in range(1, CONFIDENCE_BINS))
"""Between the bins of confidence."""


@dataclass(frozen=True, slots=True)
class Bins:
    """How many values fell into each bin.

    Attributes:
        counts: below the first edge, between, from the last edge on; empty: nothing was counted.
        missing: values that were not there.
        non_finite: values that were NaN or infinite.
    """

    counts: tuple[int, ...] = ()
    missing: int = 0
    non_finite: int = 0

    @property
    def count(self) -> int:
        """How many values fell into a bin."""
        return sum(self.counts)

    @property
    def seen(self) -> int:
        """How many values there should have been, missing and non-finite ones included."""
        return self.count + self.missing + self.non_finite

    @property
    def under(self) -> int:
        """Values below the first edge."""
        return self.counts[0] if self.counts else 0

    @property
    def over(self) -> int:
        """Values from the last edge on."""
        return self.counts[-1] if self.counts else 0

    def merge(self, other: Bins) -> Bins:
        """Both together; missing bins of the shorter one count as empty."""
        pairs = zip_longest(self.counts, other.counts, fillvalue=0)
        return Bins(
            tuple(mine + its for mine, its in pairs),
            self.missing + other.missing,
            self.non_finite + other.non_finite,
        )


def added(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The sums of the columns; what a shorter row lacks counts as 0."""
    if len({len(row) for row in rows}) > 1:
        return tuple(map(sum, zip_longest(*rows, fillvalue=0)))
    return tuple(map(sum, zip(*rows, strict=True)))


def all_bins(parts: Sequence[Bins]) -> Bins:
    """All of them together: as `merge`, for many at once."""
    return Bins(
        added([part.counts for part in parts]),
        sum([part.missing for part in parts]),
        sum([part.non_finite for part in parts]),
    )


def count_values(edges: Sequence[float], values: Iterable[float | None]) -> Bins:
    """Count values into bins; None is a missing one."""
    counts = [0] * (len(edges) + 1)
    missing = non_finite = 0
    for value in values:
        if value is None:
            missing += 1
        elif isfinite(value):
            counts[bisect_right(edges, value)] += 1
        else:
            non_finite += 1
    return Bins(tuple(counts), missing, non_finite)
