"""How many requests a place takes at once, by what it answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.lanes import URGENT
from sealane_agent.serving.messages import Load, Proved
from sealane_agent.serving.pace import ALWAYS, SOON_S, Pace
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import Overloaded, Terms
from support.fake_workers import FakeWorker, FakeWorkshop, inference, pointer


def busy(pace: Pace, each_s: float, answers: int = 100) -> Pace:
    for number in range(answers):
        pace.answered(number * each_s, left=5)
    return pace


def test_a_fast_model_has_a_long_line_and_a_slow_one_a_short_one() -> None:
    fast, slow = busy(Pace(0.001), 0.001), busy(Pace(0.001), 0.01)
    assert fast.has_room(450)
    assert slow.has_room(45)
    assert not slow.has_room(55)


def test_some_requests_are_taken_however_slow_the_model_is() -> None:
    very_slow = busy(Pace(5.0), 5.0)
    assert very_slow.has_room(ALWAYS - 1)
    assert not very_slow.has_room(ALWAYS)


def test_time_in_which_nothing_was_inside_says_nothing() -> None:
    pace = Pace(0.001)
    for number in range(100):
        pace.answered(float(number), left=0)
    assert pace.has_room(450)


def test_one_hiccup_is_forgotten() -> None:
    pace = busy(Pace(0.001), 0.001)
    pace.answered(5.0, left=5)
    assert not pace.has_room(100)
    for number in range(2000):
        pace.answered(5.0 + number * 0.001, left=5)
    assert pace.has_room(400)


def test_answers_that_come_in_bursts_are_believed_as_a_whole() -> None:
    pace = Pace(0.005)
    for burst in range(40):
        for _ in range(10):
            pace.answered(burst * 0.05, left=5)
        if burst > 5:  # a proof is soon outweighed
            assert not pace.has_room(120)
            assert pace.has_room(90)


@given(st.lists(st.floats(1e-5, 2.0), max_size=50), st.integers(0, 2000))
def test_the_line_is_never_longer_than_the_slowest_that_was_seen_explains(
    gaps: list[float], inside: int
) -> None:
    pace, now = Pace(0.001), 0.0
    pace.answered(now, left=1)
    for gap in gaps:
        now += gap
        pace.answered(now, left=1)
    fastest, slowest = min([0.001, *gaps]), max([0.001, *gaps])
    if inside >= ALWAYS and inside * fastest >= SOON_S * 1.001:
        assert not pace.has_room(inside)
    if inside * slowest < SOON_S * 0.999:
        assert pace.has_room(inside)


class Slow(FakeWorker):
    """Fifty are answered within half a second."""

    @property
    def proved(self) -> Proved:
        return replace(super().proved, latency_us=10_000)


def test_a_crowd_is_refused_at_once_and_who_is_inside_is_answered() -> None:
    async def within() -> None:
        workshop = FakeWorkshop()
        slot = Slot("cam", workshop)
        gate = asyncio.Event()

        def prepare(worker: FakeWorker) -> None:
            worker.__class__, worker.gate = Slow, gate

        workshop.prepare = prepare
        proved = await slot.load(Load("cam", pointer(1), 5))
        slot.activate(proved.worker, probation=False)
        (worker,) = workshop.workers
        crowd = [asyncio.create_task(slot.infer(None, inference())) for _ in range(100)]
        done, inside = await asyncio.wait(crowd, return_when=asyncio.FIRST_COMPLETED)
        assert (len(done), len(inside)) == (50, 50)
        assert {type(task.exception()) for task in done} == {Overloaded}
        urgent = inference()._replace(terms=Terms(priority=URGENT))
        first = asyncio.create_task(slot.infer(None, urgent))
        gate.set()
        await asyncio.wait([*inside, first])
        assert worker.answered == 51
        await slot.close(0)

    asyncio.run(within())


@pytest.mark.parametrize("left", [0, 1])
def test_a_pace_begins_with_what_the_proof_took(left: int) -> None:
    pace = Pace(0.01)
    pace.answered(0.0, left)
    assert pace.has_room(49)
    assert not pace.has_room(51)
