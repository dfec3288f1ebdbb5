"""Predictions of two releases that answer by chance on one device: exact, bounded, and in words."""

from __future__ import annotations

import math
import random
from functools import reduce
from itertools import product

import pytest
from sealane.names import SlotName
from sealane.telemetry.histogram import record
from sealane.telemetry.types import MAX_CLASSES, Arm, ModelWindow, Predictions, Timings, Window
from sealane_manager.gate import budget
from sealane_manager.gate.judge import judge
from sealane_manager.gate.mix import Mix, apart, log_evidence, together
from sealane_manager.gate.ruling import Case, Facts, Verdict, decide
from sealane_manager.gate.types import Breach, Check, Checks, Finding, Kind, Seen
from sealane_manager.rollout.tally import Asked, Tally, Watched, added

SLOT = SlotName("cam")
WATCHED = Watched(SLOT, "vision/defect@2")


@pytest.mark.parametrize(("candidate", "classes"), [(2, (2, 2)), (3, (1, 5)), (1, (1, 1, 2))])
def test_releases_that_predict_alike_expect_no_gain(
    candidate: int, classes: tuple[int, ...]
) -> None:
    """Every way in which chance could send the answers to the candidate, by enumeration."""
    expected = 0.0
    for mine in product(*(range(count + 1) for count in classes)):
        if sum(mine) != candidate:
            continue
        ways = math.prod(map(math.comb, classes, mine))
        theirs = tuple(count - got for count, got in zip(classes, mine, strict=True))
        expected += ways * math.exp(log_evidence(Mix().add(mine, theirs)))
    assert expected / math.comb(sum(classes), candidate) <= 1 + 1e-12


def answers(mix: Mix, seed: int, windows: int = 12) -> Mix:
    """A dozen windows of ten seconds at ten requests a second, split by halves."""
    chance = random.Random(seed)  # noqa: S311 - a test repeats it

    def window(weights: tuple[float, ...]) -> tuple[int, ...]:
        drawn = chance.choices(range(len(weights)), weights, k=50)
        return tuple(drawn.count(place) for place in range(len(weights)))

    for _ in range(windows):
        mix = mix.add(window(CANDIDATE[seed % 2]), window(SERVING))
    return mix


SERVING = (0.7, 0.2, 0.1)
CANDIDATE = (SERVING, (0.4, 0.2, 0.4))
"""One that predicts alike, and one that takes a third of the first class for the last."""


def finding(mix: Mix | None, *, breach: Breach = Breach.HOLD) -> Finding | None:
    checks = Checks(checks=(Check(Kind.PREDICTIONS, 0.05, breach=breach),))
    found = judge(checks, Seen(stages=3, minutes=2.0, split=True, mix=mix)).findings
    return found[0] if found else None


def test_a_silently_wrong_release_is_found_on_one_device_in_two_minutes() -> None:
    found = finding(answers(Mix(), seed=1))
    assert found is not None
    assert found.breached
    assert "class 0 comes 30% less often" in found.words or "class 2 comes" in found.words


def test_a_release_that_predicts_alike_is_not_asked_about() -> None:
    for seed in range(0, 200, 2):
        found = finding(answers(Mix(), seed))
        assert found is not None
        assert not found.breached


def test_a_difference_that_is_real_and_small_is_not_asked_about() -> None:
    mix = reduce(lambda mix, _: mix.add((4, 996), (1, 999)), range(200), Mix())
    assert log_evidence(mix) > budget.asked_within(3)
    assert apart(mix).distance < 0.05
    found = finding(mix)
    assert found is not None
    assert not found.breached


def test_it_asks_people_unless_the_rollout_says_that_it_stops() -> None:
    wrong = answers(Mix(), seed=1)
    checks = Checks(checks=(Check(Kind.PREDICTIONS, 0.05, breach=Breach.HOLD),))
    asked = judge(checks, Seen(stages=3, minutes=2.0, split=True, mix=wrong))
    assert (asked.fails, "predicts otherwise" in asked.holds) == ("", True)
    strict = Checks(checks=(Check(Kind.PREDICTIONS, 0.05, breach=Breach.FAIL),))
    stopped = judge(strict, Seen(stages=3, minutes=2.0, split=True, mix=wrong))
    assert "predicts otherwise than the release beside it" in stopped.fails


def test_devices_are_put_together_whatever_classes_each_has_seen() -> None:
    one, other = Mix().add((5, 5), (5, 5)), Mix().add((1, 2, 3), (3, 2, 1))
    both = together([one, other])
    assert both is not None
    assert (both.candidate, both.active) == ((6, 7, 3), (8, 7, 1))
    assert both.logs[2] == other.logs[2]
    assert together([]) is None
    assert finding(None) is None


def test_without_answers_of_both_there_is_no_bet() -> None:
    assert Mix().add((), (5,)) == Mix().add((5,), (0,)) == Mix()


def model(arm: Arm, release: int, predicted: Predictions, rows: int = 1) -> ModelWindow:
    count = sum(predicted.classes) + predicted.other_classes
    timings = Timings(batch=record([float(rows)] * (count // rows)))
    name = f"vision/defect@{release}"
    return ModelWindow(SLOT, name, arm, count // rows, timings=timings, predictions=predicted)


def test_windows_of_a_split_are_read_class_by_class() -> None:
    mine = Predictions(classes=(3, 1), other_classes=2)
    theirs = Predictions(classes=(4,))
    window = Window(100, 10, (model(Arm.CANDIDATE, 2, mine), model(Arm.ACTIVE, 1, theirs)))
    mix = added(Tally(), [window], WATCHED, Asked(Checks())).mix
    assert mix.candidate == (3, 1, *([0] * (MAX_CLASSES - 2)), 2)
    assert mix.active == (4, *([0] * MAX_CLASSES))


def test_rows_that_came_together_are_no_bets_of_their_own() -> None:
    mine, theirs = Predictions(classes=(4, 4)), Predictions(classes=(8,))
    window = Window(100, 10, (model(Arm.CANDIDATE, 2, mine, 4), model(Arm.ACTIVE, 1, theirs)))
    assert added(Tally(), [window], WATCHED, Asked(Checks())).mix == Mix()


def test_people_are_asked_while_the_device_is_still_on_its_way() -> None:
    facts = Facts(0, "", 0, running=True, limit=0, missing="waits for d1", soaked=False)
    seen = Seen(stages=3, minutes=2.0, split=True, mix=answers(Mix(), seed=1))
    verdict, reason, _ = decide(Case(facts, Checks(), seen))
    assert verdict is Verdict.HOLD
    assert "predicts otherwise than the release beside it" in reason
    assert decide(Case(facts, Checks(), Seen(stages=3, minutes=2.0)))[1] == "waits for d1"
