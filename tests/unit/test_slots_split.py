"""In a split chance decides who answers; failures of the new release stay its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from sealane.telemetry.types import Arm, ErrorKind, Window
from sealane_agent.serving.messages import Load
from sealane_agent.serving.recorder import Recorder
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import ModelFailed
from support.clock import MovableClock
from support.fake_workers import FakeWorker, FakeWorkshop, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sealane_agent.serving.types import Answered

    Counted = dict[tuple[int, Arm], tuple[int, dict[ErrorKind, int], int]]

NEW, OLD = 0.0, 0.99
"""What chance says when the new release, or the one before, shall answer."""


class Split:
    """A slot that serves release 1, with release 2 on probation for half of the requests."""

    def __init__(self, chances: Iterable[float]) -> None:
        self.clock = MovableClock(datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC))
        self.windows: list[Window] = []
        self.workshop = FakeWorkshop()
        self.recorder = Recorder(self.clock, self.windows.append)
        chance = cycle(chances)
        self.slot = Slot("cam", self.workshop, self.recorder, lambda: next(chance))

    async def begin(self, *, requests_before: int = 0) -> tuple[FakeWorker, FakeWorker]:
        await self._serve(1, share=1.0, probation=False)
        for _ in range(requests_before):
            await self.ask()
        await self._serve(2, share=0.5, probation=True)
        old, new = self.workshop.workers
        return old, new

    async def _serve(self, version: int, *, share: float, probation: bool) -> None:
        proved = await self.slot.load(Load("cam", pointer(version), 5))
        self.slot.activate(proved.worker, probation=probation, share=share)

    async def ask(self, wanted: int | None = None) -> Answered:
        return await self.slot.infer(wanted, inference())

    async def versions(self, requests: int) -> list[int]:
        return [(await self.ask()).pointer.release.version for _ in range(requests)]

    def counted(self) -> Counted:
        """By version and arm, in the window that ends now: requests, errors, fallbacks."""
        self.clock.advance(timedelta(seconds=10))
        self.recorder.close()
        return {
            (int(model.release[-1]), model.arm): (
                model.requests,
                dict(model.errors),
                model.fallbacks,
            )
            for model in self.windows[-1].models
        }


def play(test: Callable[[Split], Awaitable[None]], *chances: float) -> None:
    async def within() -> None:
        split = Split(chances)
        try:
            async with asyncio.timeout(10):
                await test(split)
        finally:
            await split.slot.close(0)

    asyncio.run(within())


def test_chance_decides_for_each_request_and_the_arm_is_told_and_counted() -> None:
    async def test(split: Split) -> None:
        await split.begin()
        answers = [await split.ask() for _ in range(6)]
        assert [each.pointer.release.version for each in answers] == [2, 1, 1, 2, 1, 1]
        assert Counter(each.arm for each in answers) == {Arm.CANDIDATE: 2, Arm.ACTIVE: 4}
        assert split.counted() == {(2, Arm.CANDIDATE): (2, {}, 0), (1, Arm.ACTIVE): (4, {}, 0)}
        assert split.slot.status().traffic.requests == 2

    play(test, NEW, OLD, OLD)


def test_requests_before_the_split_are_in_no_window_with_those_of_the_split() -> None:
    async def test(split: Split) -> None:
        await split.begin(requests_before=5)
        await split.versions(2)
        assert split.counted() == {(2, Arm.CANDIDATE): (1, {}, 0), (1, Arm.ACTIVE): (1, {}, 0)}
        assert [model.requests for model in split.windows[0].models] == [5]

    play(test, NEW, OLD)


def test_what_the_new_release_fails_is_answered_by_the_one_before_and_is_its_own_error() -> None:
    async def test(split: Split) -> None:
        _, new = await split.begin()
        new.fails_on = lambda _: True
        answers = [await split.ask() for _ in range(4)]
        assert {each.pointer.release.version for each in answers} == {1}
        assert [each.arm for each in answers] == [Arm.PREVIOUS, Arm.ACTIVE] * 2
        assert split.counted() == {
            (2, Arm.CANDIDATE): (2, {ErrorKind.FAILED: 2}, 2),
            (1, Arm.ACTIVE): (2, {}, 0),
            (1, Arm.PREVIOUS): (2, {}, 0),
        }
        traffic = split.slot.status().traffic
        assert (traffic.requests, traffic.errors, traffic.fallbacks) == (2, 2, 2)

    play(test, NEW, OLD)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_crash_or_a_hang_of_the_new_release_costs_no_answer(hangs: bool) -> None:  # noqa: FBT001 - given by name
    async def test(split: Split) -> None:
        _, new = await split.begin()
        new.hangs, new.alive = hangs, hangs
        assert (await split.ask()).pointer.release.version == 1
        assert (await split.ask()).pointer.release.version == 1
        traffic = split.slot.status().traffic
        assert traffic.crashes + traffic.hangs == 1
        assert split.counted()[2, Arm.CANDIDATE][1]

    play(test, NEW, OLD)


def test_what_the_release_before_fails_is_no_error_of_the_new_one() -> None:
    async def test(split: Split) -> None:
        old, _ = await split.begin()
        old.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await split.ask()
        assert split.counted() == {(1, Arm.ACTIVE): (1, {ErrorKind.FAILED: 1}, 0)}
        assert split.slot.status().traffic.errors == 0

    play(test, OLD)


def test_an_input_that_both_fail_on_counts_once_and_in_the_arm_it_was_drawn_for() -> None:
    async def test(split: Split) -> None:
        for worker in await split.begin():
            worker.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await split.ask()
        counted = split.counted()
        assert counted[2, Arm.CANDIDATE] == (1, {ErrorKind.FAILED: 1}, 0)
        assert (1, Arm.ACTIVE) not in counted

    play(test, NEW)


def test_while_the_release_before_is_down_the_new_one_answers_for_it() -> None:
    async def test(split: Split) -> None:
        old, _ = await split.begin()
        split.workshop.slow = asyncio.Event()
        old.alive = False
        assert await split.versions(2) == [2, 2]
        assert split.counted() == {
            (1, Arm.ACTIVE): (2, {ErrorKind.CRASHED: 2}, 2),
            (2, Arm.PREVIOUS): (2, {}, 0),
        }

    play(test, OLD)


def test_a_named_version_is_not_drawn() -> None:
    async def test(split: Split) -> None:
        await split.begin()
        answers = [await split.ask(1), await split.ask(2)]
        assert [each.pointer.release.version for each in answers] == [1, 2]

    play(test, NEW, OLD)


def test_a_split_ends_with_the_probation_either_way() -> None:
    async def kept(split: Split) -> None:
        await split.begin()
        split.slot.settle()
        assert await split.versions(3) == [2, 2, 2]
        assert (await split.ask()).arm is None

    async def back(split: Split) -> None:
        await split.begin()
        split.slot.go_back()
        assert await split.versions(3) == [1, 1, 1]
        assert (await split.ask()).arm is None

    play(kept, OLD)
    play(back, NEW)
