"""Backtests: fake groups on stored telemetry say how often the gate stops for nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from sealane.names import SlotName
from sealane.telemetry.histogram import record
from sealane.telemetry.types import Arm, ErrorKind, ModelWindow, Timings, Window
from sealane_manager.gate.power import drawn
from sealane_manager.gate.types import Checks
from sealane_manager.rollout.backtest import (
    FOUND,
    HOUR,
    History,
    Terms,
    collected,
    replay,
    scenes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

START = 1_760_000_400 // HOUR * HOUR
SLOT = SlotName("cam")
TERMS = Terms(Checks(), treated=4, hours=4, runs=60)
FAST = Timings(latency=record([1000.0] * 50))


def chance(seed: int = 1) -> Random:
    return Random(seed)  # noqa: S311 - a simulation, the same each time


def an_hour(hour: int, requests: int, bad: int, release: str = "vision/defect@7") -> Window:
    errors = {ErrorKind.FAILED: bad} if bad else {}
    model = ModelWindow(SLOT, release, Arm.ACTIVE, requests=requests, errors=errors, timings=FAST)
    return Window(START + HOUR * hour, HOUR, (model,))


def a_fleet(devices: int, hours: int, wild: float = 0.3) -> Iterator[tuple[str, Window]]:
    """Devices that differ, each with noise that lasts for hours."""
    source = chance(7)
    for number in range(devices):
        traffic, rate = source.uniform(500, 4000), source.uniform(0.003, 0.01)
        noise = 0.0
        for hour in range(hours):
            noise = 0.7 * noise + source.gauss(0, wild)
            bad = drawn(traffic * rate * math.exp(noise), source)
            yield f"d{number:02}", an_hour(hour, round(traffic), bad)


@pytest.fixture(scope="module")
def histories() -> dict[str, History]:
    return collected(a_fleet(24, 24 * 4), SLOT)


def test_where_nothing_is_wrong_the_gate_stops_hardly_ever(histories: dict[str, History]) -> None:
    found = scenes(histories, TERMS)
    assert len(found) == 12  # three days after the first one, four times a day
    placebo = replay(found, replace(TERMS, runs=120), 1.0, chance())
    assert placebo.runs == 120
    assert placebo.share <= 0.03


def test_harm_is_found_the_more_often_the_greater_it_is(histories: dict[str, History]) -> None:
    found = scenes(histories, TERMS)
    shares = [replay(found, TERMS, factor, chance()).share for factor in (1.0, 2.0, 5.0)]
    assert shares == sorted(shares)
    assert shares[-1] >= FOUND
    assert replay(found, TERMS, 5.0, chance()).by.keys() == {"error_rate"}


def test_the_same_seed_draws_the_same_groups(histories: dict[str, History]) -> None:
    found = scenes(histories, TERMS)
    assert replay(found, TERMS, 2.0, chance(3)) == replay(found, TERMS, 2.0, chance(3))


def test_a_gate_that_may_stop_often_for_nothing_is_seen_to_do_so() -> None:
    found = scenes(collected(a_fleet(24, 24 * 3, wild=0.8), SLOT), TERMS)
    lenient = replay(found, replace(TERMS, checks=Checks(0.5), runs=200), 1.0, chance())
    strict = replay(found, replace(TERMS, runs=200), 1.0, chance())
    assert lenient.stopped > strict.stopped
    assert 0 < lenient.error < 0.2
    assert sum(lenient.by.values()) >= lenient.stopped


def test_devices_that_changed_their_release_are_no_placebo() -> None:
    windows = list(a_fleet(8, 48))
    changed = [
        (device, an_hour(hour, 1000, 3, "vision/defect@8"))
        for device in ("d00", "d01", "d02")
        for hour in range(30, 48)
    ]
    kept = [
        each for each in windows if not (each[0] <= "d02" and each[1].start >= START + 30 * HOUR)
    ]
    found = scenes(collected([*kept, *changed], SLOT), replace(TERMS, treated=2))
    assert found
    late = next(each for each in found if each.start == START + 30 * HOUR)
    assert [unit is None for unit in late.errors[-1]] == [True] * 3 + [False] * 5


def test_too_little_telemetry_gives_no_replay() -> None:
    assert scenes({}, TERMS) == ()
    assert scenes(collected(a_fleet(24, 20), SLOT), TERMS) == ()
    assert scenes(collected(a_fleet(5, 48), SLOT), TERMS) == ()
    assert collected(a_fleet(3, 5), "other") == {}


def test_windows_of_minutes_and_of_hours_count_alike() -> None:
    hour = an_hour(0, 1200, 12)
    (model,) = hour.models
    part = replace(model, requests=20, errors={ErrorKind.FAILED: 1})
    minutes = [
        Window(START + 60 * minute, 60, (part if minute < 12 else replace(part, errors={}),))
        for minute in range(60)
    ]
    whole = collected([("d", hour)], SLOT)["d"].hours[START]
    summed = collected([("d", each) for each in minutes], SLOT)["d"].hours[START]
    assert (summed.requests, dict(summed.errors)) == (whole.requests, dict(whole.errors))
