"""P5: does the candidate name a class more, or less, often than the release beside it? Pure.

A random bit per request decides which of two releases answers, so both see the same things; if they
predicted alike, each class would come from either in the proportion of their answers. Each class is
bet on as in `odds`, in both directions and at a few ratios, and all bets are averaged. A model that
is silently wrong answers every request, and still names other classes than the one beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from sealane_manager.gate import evidence
from sealane_manager.gate.odds import Bet, Stratum, add
from sealane_manager.gate.shift import distance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RATIOS: Final = (0.1, 0.25, 0.5, 0.7, 1.4, 2.0, 4.0, 10.0)
"""How many times as often a class may come from the candidate, that is bet on."""

CLASSES: Final = 65
"""Classes that are bet on: all that telemetry counts, and the others together."""

_BET: Final = Bet(RATIOS)


@dataclass(frozen=True, slots=True)
class Mix:
    """What the windows of a split add up to.

    Attributes:
        logs: by class, one for each of RATIOS.
        candidate, active: answers of each release, by class; equally many classes.
    """

    logs: tuple[tuple[float, ...], ...] = ()
    candidate: tuple[int, ...] = ()
    active: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any answer."""
        return bool(self.logs)

    def add(self, candidate: Sequence[int], active: Sequence[int]) -> Mix:
        """With one more window: answers by class, each of one row."""
        one, other = sum(candidate), sum(active)
        if not one or not other:
            return self
        none = [0] * max(len(self.logs), len(candidate), len(active))
        mine, theirs = _plus(candidate, none), _plus(active, none)
        logs = tuple(
            add(known or _BET.nothing(), Stratum(one, got, other, gave), _BET)
            for known, got, gave in zip_longest(self.logs, mine, theirs)
        )
        return Mix(logs, _plus(self.candidate, mine), _plus(self.active, theirs))


def together(mixes: Iterable[Mix]) -> Mix | None:
    """Those of several devices, multiplied; None without any answer."""
    return reduce(_joined, mixes, Mix()) or None


def log_evidence(mix: Mix) -> float:
    """The average of all bets; classes that never came count as bets not made."""
    share = 1 / (CLASSES * len(RATIOS))
    logs = [log for each in mix.logs for log in each]
    return evidence.mean(logs, [share] * len(logs))


@dataclass(frozen=True, slots=True)
class Apart:
    """How far both releases are apart.

    Attributes:
        distance: of their predictions, from 0 to 1 (Jensen-Shannon).
        moved: the class that differs most, and by which share of all predictions.
    """

    distance: float
    moved: tuple[int, float]


def apart(mix: Mix) -> Apart:
    """The distance of the shares in which each class came."""
    mine, theirs = _shares(mix.candidate), _shares(mix.active)
    place = max(range(len(mine)), key=lambda index: abs(mine[index] - theirs[index]))
    return Apart(distance(mine, theirs), (place, mine[place] - theirs[place]))


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    whole = sum(counts)
    return tuple(count / whole for count in counts)


def _joined(one: Mix, other: Mix) -> Mix:
    none = _BET.nothing()
    logs = tuple(
        tuple(map(math.fsum, zip(mine or none, theirs or none, strict=True)))
        for mine, theirs in zip_longest(one.logs, other.logs)
    )
    return Mix(logs, _plus(one.candidate, other.candidate), _plus(one.active, other.active))


def _plus(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(map(sum, zip_longest(one, other, fillvalue=0)))
