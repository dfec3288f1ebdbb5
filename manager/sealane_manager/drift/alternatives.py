"""The changes that a detector looks for, as tables of how much likelier each outcome becomes.

The baseline's bins are laid on a normal curve by their cumulative shares. A change is a mean that
moves by 0.15 to 1.2 standard deviations either way, a spread that grows or shrinks, or values that
go missing; a mixture of them finds what lies between, and what is larger. Each is compared with a
smaller change of its kind that does not matter yet, and is then divided by the most that it could
gain from any distribution that near to the baseline: so nothing near it brings evidence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.telemetry.bins import Bins

STEPS: Final = (0.15, 0.3, 0.6, 1.2)
"""How much farther than what does not matter the mean moves, in standard deviations."""

WIDER: Final = 1.3
NARROWER: Final = 0.75
"""What the spread is times, beyond what does not matter."""

LOST: Final = 0.1
"""Share of the values that go missing, beyond what does not matter."""

Table = tuple[tuple[float, ...], ...]
"""Per change and outcome: the logarithm of how much likelier the outcome becomes."""

_CHI2_PER_JS2: Final = 8 * math.log(2)
_NORMAL: Final = NormalDist()
_RAREST: Final = 1e-12


@dataclass(frozen=True, slots=True)
class _Change:
    """The mean moves, the spread is times `spread`, and this share goes missing."""

    move: float = 0.0
    spread: float = 1.0
    lost: float = 0.0


def table(baseline: Bins, floor: float) -> Table:
    """The table for a baseline; its last outcome is that a value is missing.

    What is nearer than the JS distance `floor` does not matter, and neither does what a baseline
    of so few values may be off by chance. Half a value is added to each of its outcomes: one that
    was never seen in it is rare, not impossible.
    """
    shares = _shares(baseline)
    radius = math.sqrt(_CHI2_PER_JS2 * floor**2 + _off_by_chance(baseline))
    return tuple(
        _row(shares, _after(shares, near), _after(shares, far), radius)
        for near, far in _changes(radius)
    )


def _shares(baseline: Bins) -> tuple[float, ...]:
    weights = [*baseline.counts, baseline.missing + baseline.non_finite]
    whole = sum(weights) + len(weights) / 2
    return tuple((weight + 0.5) / whole for weight in weights)


def _off_by_chance(baseline: Bins) -> float:
    """The chi-square distance of such a baseline from what it was drawn of, seldom exceeded."""
    free = len(baseline.counts)
    return (free + 3 * math.sqrt(2 * free)) / max(1, baseline.seen)


def _changes(radius: float) -> list[tuple[_Change, _Change]]:
    """What does not matter, and what does, of each kind; the radius is a chi-square distance.

    A move of d is at the distance d, a spread of 1 + e at e times the root of 2, and a share s that
    goes missing where nothing did is at the root of 4 s.
    """
    stretch, lost = radius / math.sqrt(2), radius**2 / 4
    wide, narrow = 1 + stretch, max(0.5, 1 - stretch)
    moves = [
        (_Change(sign * radius), _Change(sign * (radius + step)))
        for step in STEPS
        for sign in (1, -1)
    ]
    return [
        *moves,
        (_Change(spread=wide), _Change(spread=wide * WIDER)),
        (_Change(spread=narrow), _Change(spread=narrow * NARROWER)),
        (_Change(lost=lost), _Change(lost=lost + LOST)),
    ]


def _after(shares: Sequence[float], change: _Change) -> list[float]:
    """The share of each outcome after the change."""
    *bins, gone = shares
    there = sum(bins)
    marks = [_NORMAL.inv_cdf(edge / there) for edge in list(accumulate(bins))[:-1]]
    moved = NormalDist(change.move, change.spread)
    edges = [0.0, *(moved.cdf(mark) for mark in marks), 1.0]
    kept = there * (1 - change.lost)
    return [
        *(max(high - low, _RAREST) * kept for low, high in pairwise(edges)),
        gone + there * change.lost,
    ]


def _row(
    shares: Sequence[float], near: Sequence[float], far: Sequence[float], radius: float
) -> tuple[float, ...]:
    """One row: far over near, less the most that its mean is anywhere within the radius."""
    ratios = [after / before for after, before in zip(far, near, strict=True)]
    mean = sum(share * ratio for share, ratio in zip(shares, ratios, strict=True))
    spread = sum(share * (ratio - mean) ** 2 for share, ratio in zip(shares, ratios, strict=True))
    most = math.log(mean + radius * math.sqrt(spread))
    return tuple(math.log(ratio) - most for ratio in ratios)
