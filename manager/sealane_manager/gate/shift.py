"""P4: do devices with the release predict differently than before, more than the others do? Pure.

A new release is meant to predict a little differently, so this asks people by default. Each
device's predictions are compared with its own past; whether the devices with the release changed
in one direction more than any other choice of as many devices would show is a permutation test,
taken at a few fixed looks, each with its part of the false-alarm budget.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOOKS: Final = ((15, 0.1), (30, 0.2), (60, 0.3), (120, 0.4))
"""Minutes after the first activation, and the part of the budget that each look may spend."""

FLOOR: Final = 0.05
"""Jensen-Shannon distance below which a change is too small to ask anybody about."""

PERMUTATIONS: Final = 2000
"""Choices of devices that are compared; the smallest p value that can be seen is 1 in so many."""

_FEW: Final = 32
"""Devices with the release up to which the choices are kept from one look to the next."""

_ROUNDING: Final = 1e-12
_MASK: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Predicted:
    """One device's predictions: counts per class or bin, of the day before and since."""

    past: tuple[int, ...]
    now: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """What the comparison says.

    Attributes:
        p: chance of a change as large among devices of which none is different.
        distance: between what the devices with the release predict now and before, from 0 to 1.
        moved: the class or bin that changed most, and by which share of all predictions.
    """

    p: float
    distance: float
    moved: tuple[int, float] = (0, 0.0)


@lru_cache(maxsize=64)
def compare(treated: tuple[Predicted, ...], control: tuple[Predicted, ...], seed: int) -> Shift:
    """Compare predictions; the same seed permutes alike, so that a decision can be replayed."""
    usable = [p for p in treated if _counts(p)]
    others = [p for p in control if _counts(p)]
    if not usable or not others:
        return Shift(1.0, 0.0)
    changes = [_change(each) for each in (*usable, *others)]
    whole = [sum(column) for column in zip(*changes, strict=True)]
    seen = _statistic(changes, whole, range(len(usable))) - _ROUNDING
    chosen = _choices(len(changes), len(usable), seed)
    as_large = sum(_statistic(changes, whole, choice) >= seen for choice in chosen)
    before, after = _share(usable, past=True), _share(usable, past=False)
    moved = max(range(len(after)), key=lambda index: abs(after[index] - before[index]))
    return Shift(
        (1 + as_large) / (1 + PERMUTATIONS),
        distance(before, after),
        (moved, after[moved] - before[moved]),
    )


def last_look(minutes: float) -> tuple[int, float] | None:
    """The minute of the latest look that is due, and its part of the budget; None before."""
    due = [look for look in LOOKS if minutes >= look[0]]
    return due[-1] if due else None


def distance(first: Sequence[float], second: Sequence[float]) -> float:
    """Jensen-Shannon distance, in base 2: from 0 to 1."""
    middle = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    both = _divergence(first, middle) + _divergence(second, middle)
    return math.sqrt(max(0.0, both / 2))


def _divergence(share: Sequence[float], middle: Sequence[float]) -> float:
    return math.fsum(a * math.log2(a / m) for a, m in zip(share, middle, strict=True) if a > 0)


def _counts(each: Predicted) -> bool:
    return sum(each.past) > 0 and sum(each.now) > 0


def _change(each: Predicted) -> tuple[float, ...]:
    """On the scale of Hellinger, where the noise of a count does not depend on its size."""
    past, now = sum(each.past), sum(each.now)
    return tuple(
        math.sqrt(new / now) - math.sqrt(old / past)
        for old, new in zip(each.past, each.now, strict=True)
    )


def _statistic(
    changes: Sequence[tuple[float, ...]], whole: Sequence[float], chosen: Sequence[int]
) -> float:
    """Squared length of the difference of mean changes, chosen devices against all others."""
    count, rest = len(chosen), len(changes) - len(chosen)
    sums = map(sum, zip(*[changes[index] for index in chosen], strict=True))
    terms = zip(sums, whole, strict=True)
    return sum([(part / count - (every - part) / rest) ** 2 for part, every in terms])


def _share(devices: Sequence[Predicted], *, past: bool) -> tuple[float, ...]:
    columns = zip(*(each.past if past else each.now for each in devices), strict=True)
    sums = [sum(column) for column in columns]
    return tuple(value / sum(sums) for value in sums)


def _choices(count: int, chosen: int, seed: int) -> Iterable[list[int]]:
    """Random choices of so many out of so many, the same for the same seed."""
    return (_kept if chosen <= _FEW else _drawn)(count, chosen, seed)


@lru_cache(maxsize=4)
def _kept(count: int, chosen: int, seed: int) -> tuple[list[int], ...]:
    """A stage is looked at four times, each time with the same choices."""
    return tuple(_drawn(count, chosen, seed))


def _drawn(count: int, chosen: int, seed: int) -> Iterator[list[int]]:
    numbers = _random(seed)
    order = list(range(count))
    for _ in range(PERMUTATIONS):
        for place in range(chosen):
            other = place + next(numbers) % (count - place)
            order[place], order[other] = order[other], order[place]
        yield order[:chosen]


def _random(seed: int) -> Iterator[int]:
    """SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014)."""
    state = seed & _MASK
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        yield mixed ^ (mixed >> 31)
