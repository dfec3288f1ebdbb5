"""The gate, all checks at once, in simulated fleets: it stops bad releases and leaves good ones."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import replace

import pytest
from gate_sim.anchors import ANCHORS
from gate_sim.gate import Ended, walk
from gate_sim.world import FINE, WORLDS, Effect, Fleet, simulate
from sealane_manager.gate.types import ALPHA, Checks

RUNS = int(os.environ.get("SEALANE_GATE_RUNS", "60"))
FLEET = Fleet(50, 5)


def walks(fleet: Fleet, effect: Effect, checks: Checks, first: int = 0) -> list[Ended]:
    return [walk(simulate(fleet, effect, seed), checks) for seed in range(first, first + RUNS)]


def stopped(found: list[Ended]) -> float:
    return sum(each.word == "fail" for each in found) / len(found)


@pytest.mark.parametrize("split", [0.0, 0.5], ids=["whole devices", "split"])
@pytest.mark.parametrize("world", WORLDS)
def test_a_good_release_is_stopped_no_more_often_than_was_agreed(world: str, split: float) -> None:
    found = walks(replace(WORLDS[world], split=split), FINE, Checks())
    allowed = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)
    print(f"\n{world}, split {split:g}: {stopped(found):.1%} of {RUNS} good releases stopped")
    assert stopped(found) <= allowed


@pytest.mark.parametrize(
    ("effect", "split", "least", "minutes"),
    [
        (Effect(errors=3.0), 0.0, 0.95, 30),
        (Effect(errors=3.0), 0.5, 0.98, 30),
        (Effect(errors=5.0), 0.0, 0.98, 15),
        (Effect(latency=1.5), 0.5, 0.98, 10),
        (Effect(latency=1.5), 0.0, 0.95, 30),
    ],
    ids=["3x errors", "3x errors, split", "5x errors", "1.5x slower, split", "1.5x slower"],
)
def test_a_bad_release_is_stopped_almost_always_and_soon(
    effect: Effect, split: float, least: float, minutes: int
) -> None:
    found = walks(replace(FLEET, split=split), effect, Checks(), first=10_000)
    when = statistics.median(each.minute for each in found)
    print(f"\n{effect}, split {split:g}: {stopped(found):.1%} stopped, median {when:.0f} minutes")
    assert stopped(found) >= least
    assert when <= minutes


def test_changed_predictions_are_asked_about_and_unchanged_ones_hardly_ever() -> None:
    flipped = walks(FLEET, Effect(flipped=0.4), Checks(), first=20_000)
    fine = walks(FLEET, FINE, Checks(), first=20_000)
    assert sum(each.asked for each in flipped) / RUNS >= 0.6
    assert sum(each.asked for each in fine) / RUNS <= 0.05


def test_a_bad_release_is_never_proved_harmless_and_a_good_one_is_within_hours() -> None:
    prove = Checks(prove=True)
    bad = walks(replace(FLEET, split=0.5), Effect(errors=3.0), prove, first=30_000)
    good = walks(replace(FLEET, split=0.5), FINE, prove, first=30_000)
    assert [each.word for each in bad].count("pass") == 0
    assert [each.word for each in good].count("pass") / RUNS >= 0.8


def test_the_rules_of_others_stop_good_releases_or_miss_bad_ones() -> None:
    good = [simulate(FLEET, FINE, seed) for seed in range(RUNS)]
    bad = [simulate(FLEET, Effect(errors=3.0), seed) for seed in range(10_000, 10_000 + RUNS)]
    for name, rule in ANCHORS.items():
        alarms = sum(rule(run) is not None for run in good) / RUNS
        finds = sum(rule(run) is not None for run in bad) / RUNS
        print(f"\n{name}: stops {alarms:.0%} of good and {finds:.0%} of 3x bad releases")
        assert alarms > 0.05 or finds < 0.95, name
