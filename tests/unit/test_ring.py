"""Both ends of a ring in one process."""

from __future__ import annotations

import mmap
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sealane_agent.serving.geometry import MAX_HANDS, MAX_SLOTS, PAGE, Geometry
from sealane_agent.serving.ring import Handles, Ring, RingDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = Geometry(4, PAGE)


def other_end(ring: Ring) -> Ring:
    """What the worker would map, on descriptors of its own."""
    return Ring.attach(Handles(*(os.dup(descriptor) for descriptor in ring.handles.all())))


@pytest.fixture
def ends() -> Iterator[tuple[Ring, Ring]]:
    ring = Ring.create(SMALL)
    worker = other_end(ring)
    yield ring, worker
    worker.close()
    ring.close()


def rings(bell: int) -> bool:
    try:
        return os.eventfd_read(bell) > 0
    except BlockingIOError:
        return False


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_slots_come_out_in_the_order_in_which_they_went_in(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    for slot in (2, 0, 3):
        endpoint.requests.put(slot)
    assert [worker.requests.take() for _ in range(4)] == [2, 0, 3, None]


def test_all_that_waits_comes_out_at_once_and_in_order(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    for turn in range(MAX_SLOTS):
        for slot in (2, 0, 3):
            endpoint.requests.put(slot)
        assert worker.requests.take_all() == [2, 0, 3], turn
        assert worker.requests.take_all() == []
    endpoint.requests.put(1)
    assert worker.requests.take() == 1


def test_a_line_that_claims_more_than_all_slots_is_damaged(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    for _ in range(MAX_SLOTS + 1):
        endpoint.requests.append(0)
    with pytest.raises(RingDamaged, match="more slots"):
        worker.requests.take_all()


def test_the_bytes_of_a_slot_are_the_same_on_both_ends(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    endpoint.slot(1)[:5] = b"hello"
    assert bytes(worker.slot(1)[:5]) == b"hello"
    assert bytes(worker.slot(2)[:5]) == bytes(5)


def test_only_a_reader_that_sleeps_is_woken(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    endpoint.requests.put(0)
    assert not rings(endpoint.handles.worker_bell)
    assert worker.requests.take() == 0
    assert worker.requests.sleep()
    endpoint.requests.put(1)
    endpoint.requests.put(2)
    assert rings(endpoint.handles.worker_bell)


def test_a_reader_does_not_sleep_over_what_came_before(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    endpoint.requests.put(0)
    assert not worker.requests.sleep()
    assert worker.requests.take() == 0


def test_what_the_worker_works_on_is_seen_by_the_endpoint(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    (idle,) = endpoint.progress()
    assert idle.current is None
    worker.begin_work(3)
    (begun,) = endpoint.progress()
    worker.end_work()
    (ended,) = endpoint.progress()
    assert begun.current == 3
    assert ended.current is None
    assert ended.since_s >= begun.since_s > 0


def test_each_hand_of_the_worker_is_seen(ends: tuple[Ring, Ring]) -> None:
    endpoint, worker = ends
    worker.open_hands(2)
    worker.begin_work(3, 1)
    worker.begin_work(0, 0)
    assert [hand.current for hand in endpoint.progress()] == [0, 3]
    worker.end_work(0)
    assert [hand.current for hand in endpoint.progress()] == [None, 3]


@pytest.mark.parametrize("count", [0, 2**63])
def test_a_worker_that_says_it_has_too_many_hands_or_none_is_seen_as_far_as_it_can_be(
    ends: tuple[Ring, Ring], count: int
) -> None:
    endpoint, worker = ends
    worker.open_hands(count)
    assert len(endpoint.progress()) in {1, MAX_HANDS}


@pytest.mark.parametrize("number", [-1, 4, 2**63])
def test_a_slot_that_does_not_exist_is_refused(ends: tuple[Ring, Ring], number: int) -> None:
    with pytest.raises(RingDamaged):
        ends[0].slot(number)


@pytest.mark.parametrize(
    "geometry", [Geometry(0, PAGE), Geometry(MAX_SLOTS + 1, PAGE), Geometry(2, PAGE + 1)]
)
def test_an_impossible_geometry_is_refused(geometry: Geometry) -> None:
    with pytest.raises(RingDamaged):
        Ring.create(geometry)


def test_memory_that_is_no_ring_is_refused() -> None:
    memory = os.memfd_create("other")
    os.ftruncate(memory, SMALL.total_bytes)
    handles = Handles(memory, os.eventfd(0), os.eventfd(0))
    with pytest.raises(RingDamaged):
        Ring.attach(handles)
    handles.close()


def test_a_ring_that_claims_more_slots_than_its_memory_holds_is_refused() -> None:
    ring = Ring.create(SMALL)
    with mmap.mmap(ring.handles.memory, PAGE) as head:
        head[8] = 5
    with pytest.raises(RingDamaged):
        other_end(ring)
    ring.close()


@pytest.mark.parametrize("size", [0, SMALL.total_bytes * 2])
def test_nobody_can_change_the_size_of_a_ring(ends: tuple[Ring, Ring], size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(ends[1].handles.memory, size)


def test_a_closed_ring_leaves_no_descriptor() -> None:
    before = descriptors()
    ring = Ring.create(SMALL)
    worker = other_end(ring)
    worker.close()
    ring.close()
    assert descriptors() == before


def test_no_wake_up_is_lost_between_two_threads_that_sleep_at_every_chance() -> None:
    endpoint = Ring.create(SMALL)
    worker = other_end(endpoint)
    for bell in (endpoint.handles.worker_bell, endpoint.handles.endpoint_bell):
        os.set_blocking(bell, True)
    turns = [1 + number % SMALL.slots for number in range(1_000)]

    def wait(line_end: Ring, *, answers: bool) -> int:
        line = line_end.answers if answers else line_end.requests
        bell = line_end.handles.endpoint_bell if answers else line_end.handles.worker_bell
        while (slot := line.take()) is None:
            if line.sleep():
                os.eventfd_read(bell)
        return slot

    def work() -> None:
        for _ in range(sum(turns)):
            worker.answers.put(wait(worker, answers=False))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for asked in turns:
        for slot in range(asked):
            endpoint.requests.append(slot)
        endpoint.requests.wake()
        assert [wait(endpoint, answers=True) for _ in range(asked)] == list(range(asked))
    thread.join()
    worker.close()
    endpoint.close()


class LineMachine(RuleBasedStateMachine):
    """Any sequence of writing, reading and falling asleep, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = Ring.create(SMALL)
        self.worker = other_end(self.endpoint)
        self.free = set(range(SMALL.slots))
        self.inside: list[int] = []
        self.asleep = False

    @precondition(lambda self: self.free)
    @rule(pick=st.integers(0, 3))
    def put(self, pick: int) -> None:
        slot = sorted(self.free)[pick % len(self.free)]
        self.free.remove(slot)
        self.inside.append(slot)
        self.endpoint.requests.put(slot)

    @precondition(lambda self: not self.asleep)
    @rule()
    def take(self) -> None:
        slot = self.worker.requests.take()
        assert slot == (self.inside.pop(0) if self.inside else None)
        if slot is not None:
            self.free.add(slot)

    @precondition(lambda self: not self.asleep)
    @rule()
    def sleep(self) -> None:
        self.asleep = self.worker.requests.sleep()
        assert self.asleep == (not self.inside)

    @precondition(lambda self: self.asleep and self.inside)
    @rule()
    def wake(self) -> None:
        assert rings(self.worker.handles.worker_bell)
        self.worker.requests.silence()
        self.asleep = False

    @invariant()
    def a_reader_that_is_awake_was_not_rung(self) -> None:
        if not self.asleep:
            assert not rings(self.worker.handles.worker_bell)

    def teardown(self) -> None:
        self.worker.close()
        self.endpoint.close()


LineMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLine = LineMachine.TestCase
