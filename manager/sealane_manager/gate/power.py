"""Foresees how soon a gate would see a release that is worse, by walking it through such hours.

Devices answer and fail as often as they do now, with noise that lasts for minutes as that of real
ones does; those with the release fail so many times as often. The gate that looks is the gate
itself (`judge`), so that what is foreseen here is what it will do. Pure: chance comes from outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final, Protocol

from sealane_manager.gate.difference import Unit
from sealane_manager.gate.judge import judge
from sealane_manager.gate.odds import Stratum
from sealane_manager.gate.types import Arms, Kind, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sealane_manager.gate.odds import Split
    from sealane_manager.gate.types import Checks

STEP_MINUTES: Final = 5
"""Between two looks of a simulated gate; the real one looks more often."""

HOURS: Final = 4
"""How long a simulated stage is watched."""

NOISE: Final = 0.5
MEMORY: Final = 0.97
"""Size of the lasting noise of a device's error rate, and what stays of it after a minute."""

MOST_TREATED: Final = 20
MOST_CONTROL: Final = 40
"""Devices of each group in the simulation: more would sharpen it little, and cost time."""

_DAY_MINUTES: Final = 1440
_KEEPS: Final = MEMORY**STEP_MINUTES
_SMALL: Final = 30.0
_WORST: Final = 0.9


class Chance(Protocol):
    """Where chance comes from: what `random.Random` has of it."""

    def random(self) -> float:
        """Anything from 0 on, below 1, all alike."""
        ...

    def gauss(self, mu: float, sigma: float) -> float:
        """Of a normal distribution."""
        ...


@dataclass(frozen=True, slots=True)
class Habit:
    """What one device does in a minute: requests, and the share of them that fails."""

    per_minute: float
    error_rate: float


ASSUMED: Final = Habit(30.0, 0.005)
"""A device of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a simulated gate watches.

    Attributes:
        treated, control: devices with the release, and without it.
        stages: how many the rollout has: they share the chance of a false alarm.
        split: share of the requests that the release answers beside the one before; 1 for all.
    """

    treated: tuple[Habit, ...]
    control: tuple[Habit, ...]
    checks: Checks
    stages: int = 1
    split: float = 1.0


@dataclass(frozen=True, slots=True)
class Power:
    """How often and how soon a release that fails `factor` times as often is stopped.

    Attributes:
        seen: in so many of `runs` simulated stages, within HOURS.
        minutes: half of those that were seen, were seen by then; None when none was.
    """

    factor: float
    seen: int
    runs: int
    minutes: float | None


def power(stage: Stage, factor: float, runs: int, chance: Chance) -> Power:
    """How soon a release that fails `factor` times as often is stopped; 1 is a good one."""
    small = replace(
        stage, treated=stage.treated[:MOST_TREATED], control=stage.control[:MOST_CONTROL]
    )
    found = [minutes for _ in range(runs) if (minutes := _stopped(small, factor, chance))]
    return Power(factor, len(found), runs, median(found) if found else None)


def _stopped(stage: Stage, factor: float, chance: Chance) -> float | None:
    """The minute in which the gate stops one simulated stage; None when it does not."""
    for minute, seen in _looks(stage, factor, chance):
        found = judge(stage.checks, seen)
        if any(each.counts and each.kind is Kind.ERRORS for each in found.findings):
            return minute
    return None


def _looks(stage: Stage, factor: float, chance: Chance) -> Iterator[tuple[float, Seen]]:
    treated = [_Device(habit, factor, stage.split, chance) for habit in stage.treated]
    control = [_Device(habit, 1.0, 1.0, chance) for habit in stage.control]
    check = stage.checks.of(Kind.ERRORS)
    split = check.bets.nothing() if check and stage.split < 1 else None
    for look in range(1, HOURS * 60 // STEP_MINUTES + 1):
        for device in (*treated, *control):
            device.step(chance)
        if split and check:
            for device in treated:
                split = split.add(device.stratum, check.bets)
        yield float(look * STEP_MINUTES), _seen(stage, treated, control, split)


def _seen(
    stage: Stage, treated: Sequence[_Device], control: Sequence[_Device], split: Split | None
) -> Seen:
    arms = Arms(split, tuple(each.unit for each in treated), tuple(each.unit for each in control))
    return Seen(stages=stage.stages, minutes=0.0, errors=arms, split=split is not None)


class _Device:
    """One simulated device, counted up step by step."""

    def __init__(self, habit: Habit, factor: float, share: float, chance: Chance) -> None:
        self._habit, self._factor, self._share = habit, factor, share
        self._noise = chance.gauss(0.0, NOISE)
        requests = round(habit.per_minute * _DAY_MINUTES)
        self.unit = Unit(0, 0, drawn(requests * habit.error_rate, chance), requests)
        self.stratum = Stratum(0, 0, 0, 0)

    def step(self, chance: Chance) -> None:
        """A few minutes pass."""
        fresh = NOISE * math.sqrt(1 - _KEEPS**2)
        self._noise = _KEEPS * self._noise + chance.gauss(0.0, fresh)
        rate = self._habit.error_rate * math.exp(self._noise - NOISE**2 / 2)
        every = drawn(self._habit.per_minute * STEP_MINUTES, chance)
        mine = round(every * self._share)
        bad = min(mine, drawn(mine * min(_WORST, rate * self._factor), chance))
        other = every - mine
        other_bad = min(other, drawn(other * min(_WORST, rate), chance))
        self.stratum = Stratum(mine, bad, other, other_bad)
        now = self.unit
        self.unit = replace(now, bad=now.bad + bad, requests=now.requests + mine)


def drawn(mean: float, chance: Chance) -> int:
    """A count with this mean, by Poisson's law; above a small mean by the normal one beside it."""
    if mean <= 0:
        return 0
    if mean > _SMALL:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    floor, product, count = math.exp(-mean), chance.random(), 0
    while product > floor:
        product *= chance.random()
        count += 1
    return count
