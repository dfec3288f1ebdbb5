"""Which variant is the best by an objective, and which one cannot be it any more."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sealane.bundle.types import Measure, Objective
from sealane.limits import MIB
from sealane_agent.ranking import bar, keeps_limit, rank, why
from sealane_agent.serving.messages import Bar, Proved
from sealane_agent.slot.state import Choice
from sealane_agent.slot.variants import better
from sealane_agent.worker.timing import (
    EARLY_US,
    LEAST_RUNS,
    MEASURED_RUNS,
    has_too_few_rows,
    is_timed,
    is_too_slow,
    middle_us,
    p95_us,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

OBJECTIVES = st.builds(Objective, st.sampled_from(Measure), st.sampled_from([0.0, 1.0, 5.0]))
TIMES = st.lists(st.integers(0, 200_000), min_size=LEAST_RUNS, max_size=MEASURED_RUNS)


def measured(
    taken_us: Sequence[int], rows_per_s: float = 0.0, memory_bytes: int = 30 * MIB
) -> Proved:
    middle, tail = middle_us(taken_us), p95_us(taken_us)
    return Proved("cam-1", "1.32.0", 0.0, middle, memory_bytes, 20, tail, rows_per_s)


PROVED = st.builds(measured, TIMES, st.sampled_from([10.0, 500.0, 9e4]), st.integers(1, 2**33))


def choice(name: str, proved: Proved) -> Choice:
    return Choice(name, "onnxruntime", "cpu", "fp32", proved)


def best_of(objective: Objective, choices: Sequence[Choice]) -> Choice:
    best = choices[0]
    for each in choices[1:]:
        best, _ = better(objective, best, each)
    return best


def test_each_objective_has_its_winner() -> None:
    soon = measured([1000] * 3, rows_per_s=900, memory_bytes=200 * MIB)
    many = measured([2000] * 3, rows_per_s=4000, memory_bytes=300 * MIB)
    small = measured([3000] * 3, rows_per_s=300, memory_bytes=40 * MIB)
    choices = [choice("soon", soon), choice("many", many), choice("small", small)]
    winners = {by: best_of(Objective(by), choices).variant for by in Measure}
    assert winners == {"latency": "soon", "throughput": "many", "memory": "small"}


def test_without_an_objective_the_lower_latency_wins_then_the_smaller_memory_then_the_first() -> (
    None
):
    fast, slow = choice("fast", measured([10] * 3)), choice("slow", measured([20] * 3))
    assert better(Objective(), slow, fast) == (fast, slow)
    small, large = (choice("it", measured([10] * 3, memory_bytes=size)) for size in (1, 2))
    assert better(Objective(), large, small) == (small, large)
    first, second = choice("first", fast.proved), choice("second", fast.proved)
    assert better(Objective(), first, second) == (first, second)


@given(OBJECTIVES, st.lists(PROVED, min_size=1, max_size=4))
def test_in_whatever_order_variants_are_measured_none_is_better_than_the_winner(
    objective: Objective, found: list[Proved]
) -> None:
    choices = [choice(str(number), each) for number, each in enumerate(found)]
    best = min(rank(objective, each) for each in found)
    for order in permutations(choices):
        assert rank(objective, best_of(objective, order).proved) == best


@given(OBJECTIVES, PROVED, PROVED)
def test_what_keeps_the_limit_wins_against_what_does_not(
    objective: Objective, one: Proved, other: Proved
) -> None:
    winner, loser = better(objective, choice("one", one), choice("other", other))
    assert keeps_limit(objective, winner.proved) or not keeps_limit(objective, loser.proved)


@given(OBJECTIVES, st.lists(PROVED, min_size=1, max_size=4))
def test_a_limit_ranks_and_never_leaves_nobody(objective: Objective, found: list[Proved]) -> None:
    best = best_of(objective, [choice("it", each) for each in found]).proved
    if not keeps_limit(objective, best):
        assert best.p95_us == min(each.p95_us for each in found)


@given(OBJECTIVES, PROVED, PROVED)
def test_what_was_given_up_never_wins(objective: Objective, one: Proved, other: Proved) -> None:
    gone = replace(one, given_up=True)
    winner, _ = better(objective, choice("gone", gone), choice("whole", other))
    assert winner.proved == other


@given(OBJECTIVES, PROVED, TIMES, st.lists(st.integers(0, 200_000), max_size=20))
@example(Objective(Measure.MEMORY, 1.0), measured([500] * 3), [20_000] * 3, [20_000])
def test_what_is_given_up_for_its_latency_could_not_have_won_by_inferences_like_these(
    objective: Objective, best: Proved, taken: list[int], more: list[int]
) -> None:
    must = bar(objective, best)
    if not is_too_slow(taken, must):
        return
    # Had it been measured to the end, and as well as can be in all else.
    later = [max(each, min(taken)) for each in more]
    whole = measured([*taken, *later], rows_per_s=1e9, memory_bytes=0)
    winner, _ = better(objective, choice("best", best), choice("late", whole))
    assert winner.proved == best


@given(OBJECTIVES, PROVED, PROVED)
def test_what_is_given_up_for_its_rows_could_not_have_won(
    objective: Objective, best: Proved, other: Proved
) -> None:
    if has_too_few_rows(other.rows_per_s, bar(objective, best)):
        winner, _ = better(objective, choice("best", best), choice("other", other))
        assert winner.proved == best


@given(TIMES)
def test_with_nothing_to_beat_everything_is_measured_to_the_end(taken: list[int]) -> None:
    assert not is_too_slow(taken, Bar())
    assert not has_too_few_rows(0.0, Bar())
    assert bar(Objective(), None) == Bar()


def test_a_slow_variant_is_not_timed_to_the_end_and_one_about_as_fast_is() -> None:
    must = bar(Objective(), measured([1000] * 3))
    assert must == Bar(1000)
    slow, like = [2000] * (EARLY_US // 2000), [1200] * (EARLY_US // 1200 + 1)
    assert is_timed(slow, must)
    assert not is_timed(slow[1:], must)
    assert not is_timed(like, must)
    assert is_timed([10_000_000] * LEAST_RUNS, must)
    assert not is_timed([10_000_000] * (LEAST_RUNS - 1), must)


def test_one_fast_inference_is_enough_to_be_measured_to_the_end() -> None:
    assert not is_too_slow([900, *[50_000] * 10], Bar(1000))


def test_for_memory_only_a_limit_can_be_missed_early() -> None:
    best = measured([1000] * 3)
    assert bar(Objective(Measure.MEMORY), best) == Bar()
    assert bar(Objective(Measure.MEMORY, 5), best) == Bar(5000)
    assert bar(Objective(Measure.THROUGHPUT, 5), replace(best, rows_per_s=70)) == Bar(5000, 70)


def test_an_endpoint_that_measures_neither_tail_nor_rows_is_ranked_by_its_latency() -> None:
    old = [replace(measured([each] * 3), p95_us=0) for each in (2000, 1000)]
    for by in (Measure.THROUGHPUT, Measure.LATENCY):
        assert best_of(Objective(by, 5), [choice("it", each) for each in old]).proved == old[1]
    assert not keeps_limit(Objective(within_ms=1), old[0])


def test_of_a_hundred_ninety_five_take_no_longer_than_the_tail() -> None:
    assert p95_us(list(range(100, 0, -1))) == 95
    assert (p95_us([3, 1, 2]), middle_us([0, 0, 0])) == (3, 1)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (Objective(), "lowest latency of 3: 1.2 ms"),
        (Objective(within_ms=20), "lowest latency of 3 within 20 ms: 1.2 ms"),
        (Objective(Measure.THROUGHPUT), "highest throughput of 3: 812.3 rows/s"),
        (Objective(Measure.MEMORY), "least memory of 3: 31 MiB"),
        (Objective(within_ms=0.5), "closest to 0.5 ms, of 3 that miss it: p95 1.2 ms"),
    ],
)
def test_it_says_why(objective: Objective, says: str) -> None:
    best = measured([1200] * 3, rows_per_s=812.3, memory_bytes=30 * MIB + 1)
    assert why(objective, best, 3) == says
    assert why(objective, best, 1) == "the only one that proved itself, 1.2 ms"
