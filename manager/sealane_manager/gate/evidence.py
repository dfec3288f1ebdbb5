"""Evidence as e-values: bets against "nothing is wrong" that may be looked at all the time.

An e-value is what a gambler holds who began with 1 and bet, at fair odds, against the hypothesis.
While the hypothesis holds, the chance that it ever reaches 1/alpha is at most alpha (Ville's
inequality), so a look each second costs nothing. Any weighted mean of e-values is one too, however
they depend on each other. Everything here is the natural logarithm of one. Pure.

Source: Ramdas, Grünwald, Vovk, Shafer: "Game-theoretic statistics and safe anytime-valid inference"
(Statistical Science 38, 2023).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NONE: Final = 0.0
"""The logarithm of an e-value of 1: no evidence."""


def mean(logs: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """The logarithm of the weighted mean of e-values; equal weights unless given.

    What weights lack to 1 is kept as cash: it counts as an e-value of 1.
    """
    if not logs:
        return NONE
    shares = weights or [1 / len(logs)] * len(logs)
    kept = max(0.0, 1 - sum(shares))
    return total((*zip(logs, shares, strict=True), (NONE, kept)))


def total(terms: Iterable[tuple[float, float]]) -> float:
    """The logarithm of the sum of e to the first, times the second; minus infinity of nothing."""
    found = [(log, share) for log, share in terms if share > 0]
    if not found:
        return -math.inf
    highest = max(log for log, _ in found)
    if math.isinf(highest):
        return highest
    return highest + math.log(sum(share * math.exp(log - highest) for log, share in found))


def enough(alpha: float) -> float:
    """The logarithm that an e-value must reach to be believed at this chance of a false alarm."""
    return -math.log(alpha)
