"""What a plan says that a gate will see is what the gate sees in simulated fleets."""

from __future__ import annotations

import math
import os
import statistics
from random import Random

import pytest
from gate_sim.gate import walk
from gate_sim.world import Effect, Fleet, simulate
from sealane_manager.gate.power import Habit, Power, Stage, power
from sealane_manager.gate.types import Checks

RUNS = int(os.environ.get("SEALANE_GATE_RUNS", "20"))
FLEET = Fleet(50, 5)
WITHIN = 0.2
"""Shares may differ by so much: the seeds are fixed, and 60 runs of each came within 0.03."""


def a_fleet(chance: Random) -> tuple[Habit, ...]:
    """Devices as `gate_sim.world` draws them."""
    spread = FLEET.spread
    return tuple(
        Habit(
            FLEET.traffic * math.exp(0.8 * chance.gauss(0, 1)),
            FLEET.error_rate * math.exp(spread * chance.gauss(0, 1) - spread**2 / 2),
        )
        for _ in range(FLEET.devices)
    )


def foreseen(factor: float, split: float) -> tuple[float, float]:
    """Share that is stopped, and the median minute of those."""
    chance = Random(7)  # noqa: S311 - a simulation, the same each time
    found: list[Power] = []
    for _ in range(RUNS):
        fleet = a_fleet(chance)
        stage = Stage(fleet[: FLEET.treated], fleet[FLEET.treated :], Checks(), 1, split)
        found.append(power(stage, factor, 1, chance))
    minutes = [each.minutes for each in found if each.minutes is not None]
    return len(minutes) / RUNS, statistics.median(minutes) if minutes else math.inf


@pytest.mark.parametrize(
    ("factor", "split"), [(2.0, 0.0), (3.0, 0.0), (2.0, 0.5)], ids=["2x", "3x", "2x, split"]
)
def test_detection_is_foreseen_as_it_comes(factor: float, split: float) -> None:
    share, median = foreseen(factor, split or 1.0)
    fleet = Fleet(50, 5, split=split)
    ended = [
        walk(simulate(fleet, Effect(errors=factor), 30_000 + n), Checks()) for n in range(RUNS)
    ]
    stopped = [each.minute for each in ended if each.word == "fail"]
    print(
        f"\n{factor:g}x, split {split:g}: foreseen {share:.0%}, median {median:.0f} min;"
        f" seen {len(stopped) / RUNS:.0%}, median {statistics.median(stopped):.0f} min"
    )
    assert abs(share - len(stopped) / RUNS) <= WITHIN
    assert 0.5 <= median / statistics.median(stopped) <= 2


def test_a_good_release_is_foreseen_to_be_left_alone() -> None:
    share, _ = foreseen(1.0, 1.0)
    assert share <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / RUNS)
