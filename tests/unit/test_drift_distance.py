"""Distances are those of the textbooks without chance, and do not take chance for drift."""

import numpy as np
import pytest
from sealane.telemetry.bins import Bins
from sealane_manager.drift.distance import Interval, Share, chance, compare, js_distance, ks, psi
from support.drift import drawn, exactly, shares

MANY = 10_000_000
BASELINE = exactly(MANY, shares())


@pytest.mark.parametrize(
    ("shift", "js", "stability"),
    [(0.1, 0.042, 0.010), (0.2, 0.084, 0.039), (0.3, 0.126, 0.088), (0.5, 0.207, 0.245)],
)
def test_a_moved_mean_has_its_known_distance(shift: float, js: float, stability: float) -> None:
    found = compare(exactly(MANY, shares(shift)), BASELINE)
    assert found.js == pytest.approx(js, abs=0.001)
    assert found.psi == pytest.approx(stability, abs=0.001)


def test_the_same_distribution_is_at_no_distance() -> None:
    found = compare(BASELINE, BASELINE)
    assert (found.js, found.psi, found.ks) == (0.0, 0.0, 0.0)
    assert found.chance > 0.99


def test_nothing_in_common_is_as_far_as_can_be() -> None:
    js, interval = js_distance(Bins((MANY, 0)), Bins((0, MANY)))
    assert js == pytest.approx(1.0, abs=1e-3)
    assert interval.high == pytest.approx(1.0)


def test_the_corrected_index_hardly_ever_takes_a_small_window_for_drift() -> None:
    dice = np.random.default_rng(5)
    found = [psi(drawn(300, shares(), dice), BASELINE) for _ in range(300)]
    assert sum(value > 0.1 for value in found) <= 3


def test_chance_says_how_often_chance_alone_does_it() -> None:
    dice = np.random.default_rng(6)
    small = drawn(900, shares(), dice)
    found = [chance(drawn(300, shares(), dice), drawn(900, shares(), dice)) for _ in range(300)]
    assert 0.01 <= sum(value < 0.05 for value in found) / 300 <= 0.1
    assert chance(drawn(300, shares(0.6), dice), small) < 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_the_interval_holds_the_true_distance(shift: float) -> None:
    dice = np.random.default_rng(7)
    true = js_distance(exactly(MANY, shares(shift)), BASELINE)[0]
    pairs = [(drawn(300, shares(shift), dice), drawn(1000, shares(), dice)) for _ in range(200)]
    intervals = [js_distance(now, before)[1] for now, before in pairs]
    assert sum(part.low <= true <= part.high for part in intervals) >= 184


def test_of_nothing_nothing_is_known() -> None:
    for now, before in ((Bins(), BASELINE), (BASELINE, Bins()), (Bins((0, 0)), Bins((0, 0)))):
        found = compare(now, before)
        assert (found.js, found.js_interval, found.psi, found.ks) == (0.0, Interval(0.0, 1.0), 0, 0)
        assert found.chance == 1.0


def test_one_bin_cannot_drift() -> None:
    found = compare(Bins((50,)), Bins((70,)))
    assert (found.js, found.psi, found.chance) == (0.0, 0.0, 1.0)


def test_values_that_go_missing_are_a_distance() -> None:
    lost = Bins(tuple(count // 2 for count in BASELINE.counts), missing=MANY // 4)
    gone = Bins(lost.counts, non_finite=MANY // 4)
    assert js_distance(lost, BASELINE)[0] > 0.4
    assert js_distance(gone, BASELINE) == js_distance(lost, BASELINE)
    assert compare(lost, BASELINE).missing.value == pytest.approx(1 / 3, abs=0.01)


def test_the_outer_shares_are_reported() -> None:
    found = compare(Bins((10, 80, 5), missing=5), Bins((1, 98, 1)))
    assert (found.under.value, found.over.value) == (0.1, 0.05)


def test_the_largest_difference_of_cumulative_shares_is_found() -> None:
    assert ks((1, 1, 2), (2, 1, 1)) == 0.25
    assert ks((4,), (0, 4)) == 1.0


def test_a_share_of_nothing_may_be_anything() -> None:
    assert (Share(0, 0).value, Share(0, 0).interval) == (0.0, Interval(0.0, 1.0))


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = Share(10, 100).interval
    assert found.low == pytest.approx(0.0552, abs=1e-3)
    assert found.high == pytest.approx(0.1744, abs=1e-3)
    assert Share(0, 20).interval.low == 0.0
    assert Share(20, 20).interval.high == 1.0
