"""Says how far one distribution is from another: bounded, corrected for chance, with its doubt.

The headline is the Jensen-Shannon distance (base 2, from 0 to 1). Counts of a few hundred values
differ by chance alone, and the plain formula calls that a distance; so what chance adds on average
is taken off, from PSI too. For orientation, a mean that moves by 0.1, 0.2, 0.3 and 0.5 standard
deviations is a JS distance of 0.04, 0.08, 0.13 and 0.21. What is missing counts as one more bin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, zip_longest
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.telemetry.bins import Bins

CONFIDENCE: Final = 0.95
"""How often an interval holds the true value."""

_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value lies with CONFIDENCE."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """From 0 to 1; 0 of nothing."""
        return self.part / self.whole if self.whole else 0.0

    @property
    def interval(self) -> Interval:
        """Wilson's, which stays sensible at 0 and 1."""
        if not self.whole:
            return Interval(0.0, 1.0)
        share, doubt = self.value, _Z * _Z / self.whole
        middle = (share + doubt / 2) / (1 + doubt)
        half = _Z / (1 + doubt) * math.sqrt((share * (1 - share) + doubt / 4) / self.whole)
        return Interval(max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True, slots=True)
class Difference:
    """How far some values are from a baseline.

    Attributes:
        values, baseline: how many were compared with how many.
        js: Jensen-Shannon distance, from 0 to 1, without what chance adds.
        js_interval: where the true distance lies.
        chance: how often the same distribution would be found that far apart.
        psi: population stability index, without what chance adds.
        ks: largest difference of the cumulative shares.
        missing, under, over: shares now; under the first and from the last edge on.
    """

    values: int
    baseline: int
    js: float
    js_interval: Interval
    chance: float
    psi: float
    ks: float
    missing: Share
    under: Share
    over: Share


def compare(current: Bins, baseline: Bins) -> Difference:
    """The difference; of nothing it is 0, with a doubt that says so."""
    js, interval = js_distance(current, baseline)
    return Difference(
        values=current.seen,
        baseline=baseline.seen,
        js=js,
        js_interval=interval,
        chance=chance(current, baseline),
        psi=psi(current, baseline),
        ks=ks(current.counts, baseline.counts),
        missing=Share(current.missing + current.non_finite, current.seen),
        under=Share(current.under, current.seen),
        over=Share(current.over, current.seen),
    )


def outcomes(bins: Bins) -> tuple[int, ...]:
    """What can happen to a value: one of the bins, or that there is none."""
    return (*bins.counts, bins.missing + bins.non_finite)


def aligned(current: Bins, baseline: Bins) -> list[tuple[int, int]]:
    """The outcomes of both that ever happened, side by side."""
    gone = (current.missing + current.non_finite, baseline.missing + baseline.non_finite)
    pairs = [*zip_longest(current.counts, baseline.counts, fillvalue=0), gone]
    return [pair for pair in pairs if any(pair)]


def js_distance(current: Bins, baseline: Bins) -> tuple[float, Interval]:
    """The distance and its interval, which is sound from about 200 values on."""
    values, others = current.seen, baseline.seen
    if not (values and others):
        return 0.0, Interval(0.0, 1.0)
    shares = _shares(current, baseline)
    free, noise = len(shares) - 1, 1 / values + 1 / others
    found = _divergence(shares) - free * noise / 8
    by_chance = free * noise * noise / 32
    sampling = _variance(shares) / values + _variance([(q, p) for p, q in shares]) / others
    reach = _Z * math.sqrt(by_chance + sampling)
    return _distance(found), Interval(_distance(found - reach), _distance(found + reach))


def chance(current: Bins, baseline: Bins) -> float:
    """How often two draws of one distribution are found that far apart, from 0 to 1.

    The divergence of two draws is nearly chi-square; its tail by Wilson and Hilferty's cube root.
    """
    values, others = current.seen, baseline.seen
    if not (values and others):
        return 1.0
    shares = _shares(current, baseline)
    free = len(shares) - 1
    if not free:
        return 1.0
    found = max(0.0, 8 * _divergence(shares) / (1 / values + 1 / others))
    spread = 2 / (9 * free)
    return math.erfc(((found / free) ** (1 / 3) - (1 - spread)) / math.sqrt(2 * spread)) / 2


def _shares(current: Bins, baseline: Bins) -> list[tuple[float, float]]:
    values, others = current.seen, baseline.seen
    return [(mine / values, its / others) for mine, its in aligned(current, baseline)]


def _divergence(shares: Sequence[tuple[float, float]]) -> float:
    """Jensen and Shannon's, in nats."""
    return sum(_half(p, q) + _half(q, p) for p, q in shares)


def _half(share: float, other: float) -> float:
    """One side of one bin's divergence, in nats."""
    return share * math.log(2 * share / (share + other)) / 2 if share else 0.0


def _variance(shares: Sequence[tuple[float, float]]) -> float:
    """Of the divergence, by how it changes with each share (the delta method), per value."""
    slopes = [(p, math.log(2 * p / (p + q)) / 2) for p, q in shares if p]
    mean = sum(p * slope for p, slope in slopes)
    return sum(p * (slope - mean) ** 2 for p, slope in slopes)


def _distance(divergence: float) -> float:
    return math.sqrt(min(1.0, max(0.0, divergence) / math.log(2)))


def psi(current: Bins, baseline: Bins) -> float:
    """The population stability index, less what chance adds on average; at least 0."""
    values, others = current.seen, baseline.seen
    if not (values and others):
        return 0.0
    pairs = aligned(current, baseline)
    half = len(pairs) / 2
    shares = [
        ((mine + 0.5) / (values + half), (its + 0.5) / (others + half)) for mine, its in pairs
    ]
    found = sum((p - q) * math.log(p / q) for p, q in shares)
    return max(0.0, found - (len(pairs) - 1) * (1 / values + 1 / others))


def ks(current: Sequence[int], baseline: Sequence[int]) -> float:
    """The largest difference of the cumulative shares, from 0 to 1."""
    values, others = sum(current), sum(baseline)
    if not (values and others):
        return 0.0
    pairs = zip_longest(current, baseline, fillvalue=0)
    steps = accumulate(mine / values - its / others for mine, its in pairs)
    return max(map(abs, steps))
