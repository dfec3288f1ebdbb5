"""The detector keeps its budget of false alarms and finds what matters within minutes."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.telemetry.bins import Bins
from sealane_manager.drift.detector import Baseline, Policy, Watch, observe, run_length
from support.drift import drawn, exactly, shares

if TYPE_CHECKING:
    import numpy.typing as npt

REFERENCE = exactly(100_000_000, shares())
DETECTOR = Policy(floor=0.0, windows=1, values=50)
CALM = 20


def alarmed(policy: Policy, windows: list[Bins]) -> list[int]:
    """Numbers of the windows at which the alarm began."""
    baseline, watch, found = Baseline.of(REFERENCE, policy), Watch(), []
    for number, window in enumerate(windows):
        after = observe(watch, window, baseline, policy)
        if after.alarm and not watch.alarm:
            found.append(number)
        watch = after
    return found


def delay(policy: Policy, values: int, part: npt.NDArray[np.float64], seed: int) -> int:
    """Windows from a change to its alarm; the change comes after CALM windows."""
    dice = np.random.default_rng(seed)
    windows = [drawn(values, shares(), dice) for _ in range(CALM)]
    windows += [drawn(values, part, dice) for _ in range(150)]
    later = [number for number in alarmed(policy, windows) if number >= CALM]
    return later[0] + 1 - CALM if later else 150


@pytest.mark.slow
@pytest.mark.parametrize(("values", "seed"), [(60, 1), (60, 2), (300, 3), (300, 4)])
def test_without_drift_the_detector_alone_keeps_its_budget(values: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    windows = [drawn(values, shares(), dice) for _ in range(2000)]
    # The alarm of the bare detector never ends, so that it can begin once: the budget.
    assert len(alarmed(DETECTOR, windows)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("values", "seed"), [(60, 5), (300, 6)])
def test_without_drift_that_matters_no_alarm_sounds(values: int, seed: int) -> None:
    dice = np.random.default_rng(seed)
    windows = [drawn(values, shares(0.15), dice) for _ in range(2000)]
    assert alarmed(Policy(), windows) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "shift", "windows"),
    [(60, 0.2, 8), (60, 0.3, 4), (60, 0.5, 2), (300, 0.2, 2), (300, 0.3, 1), (300, 0.5, 1)],
)
def test_a_moved_mean_is_found_in_time(values: int, shift: float, windows: int) -> None:
    delays = [delay(DETECTOR, values, shares(shift), seed) for seed in range(15)]
    assert median(delays) <= windows


@pytest.mark.parametrize(
    ("values", "shift", "windows"), [(60, 0.5, 8), (60, -0.5, 8), (300, 0.5, 4), (60, 1.0, 6)]
)
def test_a_change_that_matters_sounds_the_alarm(values: int, shift: float, windows: int) -> None:
    delays = [delay(Policy(), values, shares(shift), seed) for seed in range(5)]
    assert median(delays) <= windows


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_a_spread_that_shrinks_or_grows_sounds_the_alarm(spread: float) -> None:
    assert delay(Policy(), 300, shares(0, spread), 8) <= 4


def test_a_stuck_sensor_sounds_the_alarm() -> None:
    stuck = [Bins((*[0] * 10, 300, *[0] * 9)) for _ in range(3)]
    assert alarmed(Policy(), stuck) == [2]


def test_values_that_go_missing_sound_the_alarm() -> None:
    half = exactly(150, shares())
    lost = [Bins(half.counts, missing=150) for _ in range(3)]
    assert alarmed(Policy(), lost) == [2]


def test_one_odd_window_is_no_drift() -> None:
    dice = np.random.default_rng(9)
    windows = [drawn(300, shares(), dice) for _ in range(30)]
    windows[10] = Bins((300, *[0] * 19))
    assert alarmed(Policy(), windows) == []


def test_the_alarm_ends_when_the_change_is_over_and_can_sound_again() -> None:
    policy = Policy()
    baseline, watch, states = Baseline.of(REFERENCE, policy), Watch(), []
    for part in (shares(), shares(1.0), shares(), shares(1.0)):
        for _ in range(5):
            watch = observe(watch, exactly(300, part), baseline, policy)
        states.append(watch.alarm)
    assert states == [False, True, False, True]


def test_small_windows_are_judged_together() -> None:
    policy = Policy(values=100)
    baseline, watch = Baseline.of(REFERENCE, policy), Watch()
    for _ in range(4):
        watch = observe(watch, Bins((1,) * 20), baseline, policy)
    assert (watch.judged, watch.pending.seen) == (0, 80)
    watch = observe(watch, Bins((1,) * 20), baseline, policy)
    assert (watch.judged, watch.pending.seen) == (1, 0)


def test_a_window_that_only_lost_values_is_judged() -> None:
    assert alarmed(Policy(), [Bins((), missing=300)] * 3) == [2]


def test_a_window_with_other_bins_is_ignored() -> None:
    policy = Policy()
    baseline = Baseline.of(REFERENCE, policy)
    assert observe(Watch(), Bins((300,) * 21), baseline, policy) == Watch()


def test_evidence_never_overflows() -> None:
    policy = Policy()
    baseline, watch = Baseline.of(REFERENCE, policy), Watch()
    for _ in range(50):
        watch = observe(watch, Bins((10_000_000, *[0] * 19)), baseline, policy)
    assert watch.alarm
    assert np.isfinite(watch.log_evidence)


def test_nothing_seen_is_no_evidence() -> None:
    assert Watch().log_evidence == -np.inf


def test_a_budget_in_days_becomes_windows_of_all_inputs() -> None:
    # One false alarm in 30 days over 8 inputs with windows of 5 minutes.
    assert run_length(30, 300, 8) == 30 * 288 * 8
