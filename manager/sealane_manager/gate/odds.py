"""P2: within one device, does the candidate fail more often than the release beside it? Pure.

A random bit per request decides which of the two answers, so that whatever else happens on that
device in that minute (light, load, an incident) happens to both. Given how many requests of a
window were bad, the number that fell on the candidate follows a hypergeometric distribution, which
a binomial one dominates in convex order; so the likelihood ratios of the binomial, multiplied over
windows and averaged over ratios, are a supermartingale. Only counts are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sealane_manager.gate import evidence

_POINTS: Final = 24


def _spaced(low: float, high: float) -> tuple[float, ...]:
    step = math.log(high / low) / (_POINTS - 1)
    return tuple(low * math.exp(step * index) for index in range(_POINTS))


WORSE: Final = _spaced(1.15, 20.0)
"""Ratios, above the tolerated one, that evidence of harm bets on."""

BETTER: Final = _spaced(0.2, 0.95)
"""Ratios, below the excluded one, that evidence of harmlessness bets on."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One window of one device: requests of each arm, and the bad ones among them."""

    candidate: int
    candidate_bad: int
    active: int
    active_bad: int


@dataclass(frozen=True, slots=True)
class Bet:
    """What is bet on: the candidate's ratio is `than` times one of `ratios`."""

    ratios: tuple[float, ...] = WORSE
    than: float = 1.0

    def nothing(self) -> tuple[float, ...]:
        """The logarithms before anything was seen."""
        return (evidence.NONE,) * len(self.ratios)


def harm(tolerated: float = 1.0) -> Bet:
    """Bet that the candidate is worse than `tolerated` times the release beside it."""
    return Bet(WORSE, tolerated)


def harmless(excluded: float) -> Bet:
    """Bet that the candidate is not `excluded` times as bad, or worse."""
    return Bet(BETTER, excluded)


def add(logs: tuple[float, ...], seen: Stratum, bet: Bet) -> tuple[float, ...]:
    """The logarithms after one more window, one for each ratio; their mean is the evidence."""
    bad = seen.candidate_bad + seen.active_bad
    if not bad or not seen.candidate or not seen.active:
        return logs
    weighted = seen.candidate * bet.than
    share = weighted / (weighted + seen.active)
    return tuple(
        log + seen.candidate_bad * gain - bad * math.log1p(share * (ratio - 1))
        for log, ratio, gain in zip(logs, bet.ratios, _gains(bet.ratios), strict=True)
    )


@lru_cache(maxsize=8)
def _gains(ratios: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.log(ratio) for ratio in ratios)


@dataclass(frozen=True, slots=True)
class Split:
    """What the windows of a split add up to: all that evidence needs, and totals for people."""

    harm: tuple[float, ...]
    harmless: tuple[float, ...]
    total: Stratum = Stratum(0, 0, 0, 0)

    def add(self, seen: Stratum, bets: Bets) -> Split:
        """With one more window."""
        return Split(
            add(self.harm, seen, bets.harm),
            add(self.harmless, seen, bets.harmless),
            Stratum(
                self.total.candidate + seen.candidate,
                self.total.candidate_bad + seen.candidate_bad,
                self.total.active + seen.active,
                self.total.active_bad + seen.active_bad,
            ),
        )


@dataclass(frozen=True, slots=True)
class Bets:
    """The two bets on one metric: that the candidate is worse than may be, and that it is not."""

    harm: Bet
    harmless: Bet

    @classmethod
    def on(cls, tolerated: float, excluded: float) -> Bets:
        """Harm above `tolerated`; harmlessness below `excluded`; both factors."""
        return cls(harm(tolerated), harmless(excluded))

    def nothing(self) -> Split:
        """Before any window."""
        return Split(self.harm.nothing(), self.harmless.nothing())
