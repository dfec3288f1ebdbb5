"""How large a ring is, and when a worker counts as stuck."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.bundle.types import DataType, TensorSpec
from sealane.errors import BundleError
from sealane_agent.serving.geometry import (
    MAX_SLOTS,
    PAGE,
    RING_BYTES,
    ROW_BYTES,
    ROWS,
    SLOT_BYTES,
    TEXT_BYTES,
    geometry_for,
)
from sealane_agent.serving.patience import (
    PAUSE_S,
    Progress,
    is_stuck,
    out_of_time,
    stood_still,
    worked_on,
)
from support.workers import Recipe, deployment_of

TINY = deployment_of(Recipe(b""))


@dataclass
class Waiting:
    since_s: float
    timeout_s: float


def with_input(*shape: int) -> object:
    return geometry_for(replace(TINY, inputs=(TensorSpec("x", DataType.FP32, shape),)))


@given(st.lists(st.sampled_from([-1, 1, 3, 224, 640]), min_size=1, max_size=4))
def test_a_slot_has_room_for_a_row_and_a_ring_keeps_its_limits(shape: list[int]) -> None:
    spec = TensorSpec("x", DataType.UINT8, tuple(shape))
    try:
        geometry = geometry_for(replace(TINY, inputs=(spec,)))
    except BundleError:
        return
    row = 1
    for size in shape[1:]:
        row *= max(1, size)
    assert geometry.slot_bytes % PAGE == 0
    assert geometry.slot_bytes > row
    assert 2 <= geometry.slots <= MAX_SLOTS
    assert geometry.slots == 2 or geometry.slots * geometry.slot_bytes <= RING_BYTES


def test_a_small_model_has_room_for_many_rows() -> None:
    assert geometry_for(TINY).slot_bytes > ROWS * 4 * 4
    assert geometry_for(TINY).slots == MAX_SLOTS


def test_a_large_row_gets_a_slot_beyond_the_usual_size() -> None:
    spec = TensorSpec("x", DataType.UINT8, (-1, 100 << 20))
    geometry = geometry_for(replace(TINY, inputs=(spec,)))
    assert geometry.slot_bytes > 100 << 20 > SLOT_BYTES


def test_a_row_that_no_machine_should_carry_is_refused() -> None:
    with pytest.raises(BundleError, match="more than"):
        with_input(-1, ROW_BYTES)


def test_a_text_has_the_room_of_a_usual_one() -> None:
    texts = TensorSpec("x", DataType.BYTES, (-1, 8))
    geometry = geometry_for(replace(TINY, inputs=(texts,)))
    assert geometry.slot_bytes > ROWS * 8 * TEXT_BYTES


def test_a_worker_is_judged_by_the_request_it_works_on() -> None:
    inside = {0: Waiting(0, 1), 1: Waiting(0, 60)}
    busy = (Progress(current=1, since_s=1),)
    assert not is_stuck(inside, busy, now_s=50)
    assert is_stuck(inside, busy, now_s=61)


def test_a_worker_that_takes_nothing_is_judged_by_the_oldest_request() -> None:
    assert is_stuck({3: Waiting(5, 2)}, (Progress(None, 1),), now_s=7)
    assert not is_stuck({3: Waiting(5, 2)}, (Progress(None, 1),), now_s=6.9)


def test_a_worker_that_just_finished_something_is_not_stuck() -> None:
    assert not is_stuck({3: Waiting(5, 2)}, (Progress(None, 6.9),), now_s=7)


def test_a_worker_with_nothing_inside_is_never_stuck() -> None:
    assert not is_stuck({}, (Progress(None, 0),), now_s=1e9)


def test_a_slot_that_the_worker_made_up_is_ignored() -> None:
    assert worked_on({0: Waiting(0, 1)}, (Progress(17, 0),)) == ()


def test_every_hand_is_judged_by_its_own_request() -> None:
    inside = {0: Waiting(0, 60), 1: Waiting(0, 5)}
    hands = (Progress(current=0, since_s=0), Progress(current=1, since_s=4))
    assert not is_stuck(inside, hands, now_s=8.9)
    assert is_stuck(inside, hands, now_s=9)


def test_a_request_that_no_hand_takes_although_one_is_idle_is_judged_too() -> None:
    inside = {0: Waiting(0, 60), 1: Waiting(0, 5)}
    busy, idle = Progress(current=0, since_s=3), Progress(None, since_s=1)
    assert not is_stuck(inside, (busy, idle), now_s=7.9)
    assert is_stuck(inside, (busy, idle), now_s=8)
    assert not is_stuck(inside, (busy,), now_s=8)


@given(
    st.dictionaries(st.integers(0, 3), st.integers(0, 100), max_size=4),
    st.lists(st.tuples(st.none() | st.integers(0, 5), st.integers(0, 100)), min_size=1, max_size=4),
)
def test_a_worker_is_never_stuck_within_the_time_since_anything_began(
    inside: dict[int, int], words: list[tuple[int | None, int]]
) -> None:
    waiting = {slot: Waiting(since_s, 5) for slot, since_s in inside.items()}
    hands = tuple(Progress(*word) for word in words)
    latest = max([*inside.values(), *(hand.since_s for hand in hands)])
    assert not is_stuck(waiting, hands, now_s=min([latest, *inside.values()]) + 4.9)
    if waiting:
        assert is_stuck(waiting, hands, now_s=latest + 5)


def test_only_requests_that_are_not_worked_on_run_out_of_time() -> None:
    old, young, current = Waiting(0, 1), Waiting(9.5, 1), Waiting(0, 1)
    assert out_of_time((old, young, current), (current,), now_s=10) == (old,)


def test_a_look_that_comes_late_says_that_this_process_stood_still() -> None:
    assert not stood_still(due_s=5, now_s=5 + PAUSE_S * 0.9)
    assert stood_still(due_s=5, now_s=5 + PAUSE_S)
