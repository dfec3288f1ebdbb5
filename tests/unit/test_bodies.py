from __future__ import annotations

import gc
import mmap
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.bodies import WORTH_BYTES, Bodies, SlotBodies, readable
from sealane_agent.serving.ranges import Ranges
from sealane_agent.serving.ring_frames import ALIGNMENT

LARGE = 3 * WORTH_BYTES
ROOM = 8 * LARGE


def test_a_worker_reads_a_body_where_it_came_to_lie() -> None:
    bodies = Bodies(ROOM)
    body = bodies.take(LARGE, before=117)
    body[:] = os.urandom(LARGE)
    place = bodies.place_of(body[117:])
    assert place is not None
    assert place % ALIGNMENT == 0
    assert readable(bodies.descriptor)[place : place + LARGE - 117] == body[117:]


def test_a_worker_cannot_write_there() -> None:
    bodies = Bodies(ROOM)
    with pytest.raises(PermissionError):
        mmap.mmap(bodies.descriptor, ROOM)
    with pytest.raises(TypeError, match="read-only"):
        readable(bodies.descriptor)[0] = 1
    with pytest.raises(OSError, match=r"Invalid argument|not permitted"):
        os.ftruncate(bodies.descriptor, 0)


def test_memory_is_used_again_once_nobody_looks_at_its_body() -> None:
    bodies = Bodies(ROOM)
    first = bodies.take(LARGE)
    place = bodies.place_of(first)
    looking = first[10:20]
    del first
    other = bodies.take(LARGE)
    assert bodies.place_of(other) != place
    assert bodies.in_use == 2
    del looking
    assert bodies.in_use == 1
    assert bodies.place_of(bodies.take(LARGE)) == place
    del other
    assert bodies.in_use == 0


def test_what_finds_no_place_lies_in_memory_of_its_own() -> None:
    bodies = Bodies(2 * LARGE)
    first, second = bodies.take(LARGE), bodies.take(LARGE)
    assert bodies.place_of(first) == 0
    assert bodies.place_of(second) is None
    assert len(bodies.take(ROOM)) == ROOM
    assert bodies.in_use == 1


@pytest.mark.parametrize("data", [b"", b"x" * WORTH_BYTES, memoryview(bytearray(LARGE))[1:]])
def test_what_lies_elsewhere_has_no_place(data: bytes | memoryview) -> None:
    assert Bodies(ROOM).place_of(data) is None


def test_a_tensor_that_is_not_aligned_or_small_is_said_to_have_no_place() -> None:
    bodies = Bodies(ROOM)
    body = bodies.take(LARGE)
    assert bodies.place_of(body[1:]) is None
    assert bodies.place_of(body[ALIGNMENT:]) == ALIGNMENT
    assert bodies.place_of(body[: WORTH_BYTES - 1]) is None


def test_the_machine_gets_back_what_no_body_lies_in_but_for_a_little() -> None:
    bodies = Bodies(ROOM, idle_bytes=LARGE)
    parts = [bodies.take(LARGE) for _ in range(4)]
    for part in parts:
        part[:] = bytes(len(part))
    held = os.fstat(bodies.descriptor).st_blocks * 512
    del parts, part
    left = os.fstat(bodies.descriptor).st_blocks * 512
    assert held >= 4 * LARGE
    assert left <= LARGE + mmap.PAGESIZE


def test_what_one_slot_is_asked_never_lies_where_workers_of_another_read() -> None:
    slots = SlotBodies()
    mine, other = slots.open("cam"), slots.open("side")
    assert slots.of("cam") is slots.open("cam") is mine
    assert slots.of("side") is other is not mine
    nobodys = slots.of("unknown")
    assert nobodys not in {mine, other}
    body = slots.of("side").take(LARGE)
    assert other.place_of(body) == 0
    assert mine.place_of(body) is None
    assert nobodys.take(LARGE) is not None
    assert slots.open("unknown") is not nobodys


def test_an_engine_may_keep_an_array_over_a_body_and_the_body_stays() -> None:
    bodies = Bodies(ROOM)
    array = np.frombuffer(bodies.take(LARGE), np.float32).reshape(2, -1)[1:]
    gc.collect()
    assert bodies.in_use == 1
    del array
    assert bodies.in_use == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=60))
def test_nobody_gets_what_another_has_and_nothing_is_lost(steps: list[tuple[bool, int]]) -> None:
    ranges, taken = Ranges(100), dict[int, int]()
    for takes, number in steps:
        if takes:
            begin = ranges.take(number)
            used = {at for start, size in taken.items() for at in range(start, start + size)}
            free_runs = "".join("x" if at in used else "." for at in range(100)).split("x")
            assert (begin is None) == (max(map(len, free_runs)) < number)
            if begin is not None:
                assert not used & set(range(begin, begin + number))
                taken[begin] = number
        elif taken:
            begin = list(taken)[number % len(taken)]
            ranges.give(begin, taken.pop(begin))
        assert ranges.top == max((begin + size for begin, size in taken.items()), default=0)
    for begin, size in taken.items():
        ranges.give(begin, size)
    assert ranges.take(100) == 0
