"""Evidence of gates: exact expectations under the hypothesis, and the tables people are shown."""

from __future__ import annotations

import math

import pytest
from sealane_manager.gate import budget, difference, evidence, odds, outcomes, shift
from sealane_manager.gate.difference import Unit
from sealane_manager.gate.odds import Stratum
from sealane_manager.gate.outcomes import Outcomes
from sealane_manager.gate.shift import Predicted
from sealane_manager.gate.types import Kind


def test_a_mean_of_evidence_keeps_what_the_weights_lack_as_cash() -> None:
    assert evidence.mean([math.log(9)], [0.5]) == pytest.approx(math.log(5))
    assert evidence.mean([math.log(2), math.log(4)]) == pytest.approx(math.log(3))
    assert evidence.mean([]) == evidence.NONE


def test_evidence_too_large_for_a_number_is_still_averaged() -> None:
    assert evidence.mean([5000.0, 0.0]) == pytest.approx(5000 - math.log(2))


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("judged", [1, 5, 50])
def test_device_outcomes_expect_no_gain_while_failures_stay_within_the_allowed(
    rate: float, judged: int
) -> None:
    expected = sum(
        math.comb(judged, failed)
        * rate**failed
        * (1 - rate) ** (judged - failed)
        * math.exp(outcomes.log_evidence(Outcomes(failed, judged)))
        for failed in range(judged + 1)
    )
    assert expected <= 1 + 1e-9


def test_the_failures_that_stop_a_stage_are_few_among_few_and_more_among_many() -> None:
    needed = evidence.enough(0.01)
    stops = {n: outcomes.failures_that_stop(n, needed) for n in (2, 3, 10, 20, 30, 50, 100, 200)}
    assert stops == {2: 2, 3: 2, 10: 3, 20: 4, 30: 5, 50: 7, 100: 9, 200: 14}
    assert outcomes.failures_that_stop(1, needed) is None


def test_one_bad_hardware_class_is_found_among_many_good_devices() -> None:
    seen = {"old": Outcomes(3, 3), "new": Outcomes(0, 40)}
    assert outcomes.log_evidence_by_class(seen, 5) > budget.exact(0.01, 1, split=False)
    together = {"": Outcomes(3, 43)}
    assert outcomes.log_evidence_by_class(together, 1) < budget.exact(0.01, 1, split=False)


@pytest.mark.parametrize(("candidate", "active", "bad"), [(10, 10, 4), (30, 5, 6), (3, 40, 5)])
def test_a_split_expects_no_gain_while_both_releases_are_alike(
    candidate: int, active: int, bad: int
) -> None:
    everything = math.comb(candidate + active, bad)
    expected = 0.0
    for on_candidate in range(max(0, bad - active), min(candidate, bad) + 1):
        chance = math.comb(candidate, on_candidate) * math.comb(active, bad - on_candidate)
        logs = odds.add(
            odds.harm().nothing(),
            Stratum(candidate, on_candidate, active, bad - on_candidate),
            odds.harm(),
        )
        expected += chance / everything * math.exp(evidence.mean(logs))
    assert expected <= 1 + 1e-9


@pytest.mark.parametrize("ratio", [2.0, 3.0, 10.0])
def test_harmlessness_expects_no_gain_while_the_candidate_is_as_bad_as_is_excluded(
    ratio: float,
) -> None:
    bad, candidate, active = 6, 20, 30
    share = candidate * ratio / (candidate * ratio + active)
    bet = odds.harmless(2.0)
    expected = 0.0
    for on_candidate in range(bad + 1):
        chance = float(math.comb(bad, on_candidate))
        chance *= share**on_candidate * (1 - share) ** (bad - on_candidate)
        seen = Stratum(candidate, on_candidate, active, bad - on_candidate)
        expected += chance * math.exp(evidence.mean(odds.add(bet.nothing(), seen, bet)))
    assert expected <= 1 + 1e-9


def test_a_window_in_which_one_release_got_nothing_says_nothing() -> None:
    bet = odds.harm()
    assert odds.add(bet.nothing(), Stratum(0, 0, 50, 5), bet) == bet.nothing()
    assert odds.add(bet.nothing(), Stratum(50, 0, 50, 0), bet) == bet.nothing()


def steady(count: int, factor: float) -> tuple[Unit, ...]:
    return tuple(Unit(round(40 * factor) + i % 3, 4000, 400 + i, 40000) for i in range(count))


def test_devices_that_got_worse_together_with_all_others_show_no_harm() -> None:
    found = difference.compare(steady(5, 3.0), steady(45, 3.0))
    assert found.log_e < budget.modelled(0.01, 1, Kind.ERRORS, split=False)


def test_devices_that_got_worse_alone_show_harm_and_by_how_much() -> None:
    found = difference.compare(steady(5, 3.0), steady(45, 1.0))
    assert (found.above, found.guarded) == (True, "")
    assert found.log_e > budget.modelled(0.01, 1, Kind.ERRORS, split=False)
    assert found.ratio == pytest.approx(3.0, rel=0.1)


def test_devices_that_got_better_are_no_harm() -> None:
    assert not difference.compare(steady(5, 0.2), steady(45, 1.0)).above


@pytest.mark.parametrize(
    ("treated", "why"),
    [
        ((Unit(3, 100, 10, 1000), Unit(2, 100, 10, 1000)), "only 5 bad requests"),
        ((Unit(40, 100, 10, 1000), Unit(0, 100, 10, 1000)), "only 1 devices"),
    ],
)
def test_sparse_evidence_between_devices_is_not_believed(
    treated: tuple[Unit, ...], why: str
) -> None:
    assert difference.compare(treated, steady(10, 1.0)).guarded.startswith(why)


@pytest.mark.parametrize(
    ("treated", "control"),
    [((), steady(5, 1)), (steady(1, 5), steady(5, 1)), (steady(5, 5), ())],
)
def test_too_few_devices_are_not_compared(
    treated: tuple[Unit, ...], control: tuple[Unit, ...]
) -> None:
    assert difference.compare(treated, control) == difference.NOTHING


def test_a_fleet_without_a_past_is_not_compared() -> None:
    fresh = tuple(Unit(1, 10, 0, 0) for _ in range(5))
    assert difference.compare(fresh, fresh) == difference.NOTHING


def seen_classes(count: int, *, flipped: bool) -> tuple[Predicted, ...]:
    return tuple(
        Predicted(
            (600 + 10 * (i % 7), 300, 100), (300, 600, 100) if flipped else (600, 310 + i % 5, 90)
        )
        for i in range(count)
    )


def test_predictions_that_flip_on_the_devices_with_the_release_are_seen_and_named() -> None:
    found = shift.compare(seen_classes(4, flipped=True), seen_classes(40, flipped=False), seed=1)
    assert found.p < 0.002
    assert found.distance > shift.FLOOR
    assert found.moved[0] in {0, 1}


def test_predictions_that_change_everywhere_are_no_shift() -> None:
    found = shift.compare(seen_classes(4, flipped=True), seen_classes(40, flipped=True), seed=1)
    assert found.p > 0.05


def test_the_same_seed_permutes_alike() -> None:
    arms = (seen_classes(3, flipped=True), seen_classes(9, flipped=False))
    assert shift.compare(*arms, seed=7) == shift.compare(*arms, seed=7)


def test_devices_without_predictions_are_left_out() -> None:
    empty = (Predicted((0, 0), (0, 0)),)
    assert shift.compare(empty, empty, seed=1).p == 1.0


@pytest.mark.parametrize(("minutes", "look"), [(1, None), (15, 15), (59, 30), (500, 120)])
def test_predictions_are_looked_at_when_a_look_is_due(minutes: float, look: int | None) -> None:
    found = shift.last_look(minutes)
    assert (found[0] if found else None) == look
