"""P1: do more devices fail than may? One device is one bet, whatever it answers. Pure.

Each device that was given the release either serves or has failed. Against "at most `allowed` of
all devices would fail" the e-value is a mixture of likelihood ratios over higher rates, weighted
like the distribution Beta(1/2, 1) above `allowed`; for each lower rate it is a supermartingale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sealane_manager.gate import evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

ALLOWED: Final = 0.02
"""Share of devices that may fail for reasons of their own."""

_POINTS: Final = 128
"""Rates in the mixture; any finite mixture is exact, more points only make it smoother."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many devices were judged, and how many of them failed."""

    failed: int = 0
    judged: int = 0


@lru_cache(maxsize=4096)
def log_evidence(seen: Outcomes, allowed: float = ALLOWED) -> float:
    """The evidence that more than `allowed` of such devices fail."""
    fine = seen.judged - seen.failed
    return evidence.total(
        (seen.failed * worse + fine * better, share) for worse, better, share in _rates(allowed)
    )


@lru_cache(maxsize=64)
def _rates(allowed: float) -> tuple[tuple[float, float, float], ...]:
    """Per rate of the mixture: log ratio of a failure, log ratio of a success, weight."""
    width = (1 - allowed) / _POINTS
    rates = [allowed + width * (index + 0.5) for index in range(_POINTS)]
    whole = sum(rate**-0.5 for rate in rates)
    return tuple(
        (math.log(rate / allowed), math.log((1 - rate) / (1 - allowed)), rate**-0.5 / whole)
        for rate in rates
    )


def log_evidence_by_class(
    seen: Mapping[str, Outcomes], classes: int, allowed: float = ALLOWED
) -> float:
    """The evidence of all devices together and of each hardware class, half the bet on each.

    `classes` is the number of classes in the rollout, fixed before it began: a class of which
    nothing was seen keeps its share.
    """
    together = Outcomes(
        sum(each.failed for each in seen.values()), sum(each.judged for each in seen.values())
    )
    count = max(classes, len(seen), 1)
    logs = [
        log_evidence(together, allowed),
        *(log_evidence(seen[name], allowed) for name in sorted(seen)),
    ]
    return evidence.mean(logs, [0.5, *([0.5 / count] * len(seen))])


def failures_that_stop(judged: int, needed: float, allowed: float = ALLOWED) -> int | None:
    """How many failures among so many devices reach the needed evidence; None when none can."""
    for failed in range(judged + 1):
        if log_evidence(Outcomes(failed, judged), allowed) >= needed:
            return failed
    return None
