"""When a side of the ring looks again instead of sleeping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.spinning import (
    CROWDED_S,
    LATELY,
    LONG_S,
    MOST_S,
    REMEASURE,
    WORTH_S,
    Spin,
)

CAME_S = MOST_S / 3
"""Sooner than it would be woken."""

COSTLY_S = 2 * WORTH_S
MANY = 10 * LATELY


def learned(processors: int = 2, came_s: float = CAME_S, woken_s: float = COSTLY_S) -> Spin:
    spin = Spin(processors)
    for _ in range(MANY):
        spin.slept(came_s + woken_s, woken_s)
    return spin


def test_it_sleeps_before_it_has_learned_anything() -> None:
    assert Spin(2).limit_s == 0


def test_it_looks_where_being_woken_costs_much_and_waits_are_short() -> None:
    assert learned().limit_s == MOST_S


def test_it_never_looks_with_one_processor() -> None:
    assert learned(processors=1).limit_s == 0


def test_it_sleeps_where_waits_are_long() -> None:
    assert learned(came_s=2 * MOST_S).limit_s == 0


def test_it_sleeps_where_being_woken_is_cheap() -> None:
    assert learned(woken_s=WORTH_S / 2).limit_s == 0


def test_it_sleeps_where_being_woken_takes_so_long_that_somebody_else_has_the_processor() -> None:
    assert learned(woken_s=2 * CROWDED_S).limit_s == 0


def test_one_cheap_wake_up_is_enough_to_sleep_again() -> None:
    spin = learned()
    spin.slept(CAME_S + WORTH_S / 4, WORTH_S / 4)
    for _ in range(LATELY // 2):
        spin.slept(CAME_S + COSTLY_S, COSTLY_S)
    assert spin.limit_s == 0


def test_one_long_pause_does_not_teach_it_for_long() -> None:
    spin = learned()
    spin.slept(3600.0, COSTLY_S)
    for _ in range(3 * LATELY):
        spin.slept(CAME_S + COSTLY_S, COSTLY_S)
    assert spin.limit_s > 0


def test_it_sleeps_after_it_was_put_aside() -> None:
    spin = learned()
    spin.put_aside()
    assert spin.limit_s == 0


def test_it_measures_again_now_and_then() -> None:
    spin, looked = learned(), 0
    while spin.limit_s:
        spin.looked(CAME_S)
        looked += 1
    assert looked == REMEASURE
    spin.slept(CAME_S + COSTLY_S, COSTLY_S)
    assert spin.limit_s > 0


@given(st.lists(st.tuples(st.floats(0, 2 * LONG_S), st.floats(-1, 1)), max_size=200))
def test_it_never_looks_for_longer_than_the_most(waits: list[tuple[float, float]]) -> None:
    spin = Spin(4)
    for wait_s, woken_s in waits:
        assert 0 <= spin.limit_s <= MOST_S
        if spin.limit_s:
            spin.looked(min(wait_s, MOST_S))
        else:
            spin.slept(wait_s, woken_s)
