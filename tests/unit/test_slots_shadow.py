"""A standby gets copies of requests: compared, bounded, and of no consequence to who asked."""

from __future__ import annotations

import asyncio
import struct
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import Agreement, DataType, Rule, TensorSpec
from sealane.telemetry.types import Arm, ErrorKind, Window
from sealane_agent.serving.comparing import says_the_same
from sealane_agent.serving.messages import Load, Shadowed
from sealane_agent.serving.recorder import Recorder
from sealane_agent.serving.shadow import INLINE_BYTES, WAITING, WAITING_BYTES
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import NotReady, Tensor
from support.clock import MovableClock
from support.fake_workers import FakeWorker, FakeWorkshop, deployment, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROW = struct.pack("<2f", 1.0, 2.0)


class Stage:
    """A slot that serves release 1, with release 2 as the standby that gets copies."""

    def __init__(self) -> None:
        self.clock = MovableClock(datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC))
        self.windows: list[Window] = []
        self.recorder = Recorder(self.clock, self.windows.append)
        self.workshop = FakeWorkshop()
        self.slot = Slot("cam", self.workshop, self.recorder)

    async def begin(self) -> tuple[FakeWorker, FakeWorker]:
        for version in (1, 2):
            proved = await self.slot.load(Load("cam", pointer(version), 5))
            if version == 1:
                self.slot.activate(proved.worker, probation=False)
            else:
                self.slot.mirror(proved.worker)
        old, new = self.workshop.workers
        return old, new

    async def ask(self, content: bytes = ROW) -> int:
        rows = len(content) // len(ROW)
        answered = await self.slot.infer(None, inference(content, (rows, 2)))
        assert answered.tensors[0].data == content
        return answered.pointer.release.version

    async def seen(self, **counts: int) -> Shadowed:
        """What the shadow came to, once these counts were reached."""
        shadow = self.slot.shadow
        assert shadow is not None
        while any(  # noqa: ASYNC110 - nothing tells when
            getattr(shadow.read(), name) < count for name, count in counts.items()
        ):
            await asyncio.sleep(0)
        return shadow.read()

    def window(self) -> Window:
        self.clock.advance(timedelta(seconds=60))
        self.recorder.close()
        return self.windows[-1]


def play(test: Callable[[Stage], Awaitable[None]]) -> None:
    async def within() -> None:
        stage = Stage()
        try:
            async with asyncio.timeout(10):
                await test(stage)
        finally:
            await stage.slot.close(0)

    asyncio.run(within())


class Otherwise(FakeWorker):
    """Answers the two numbers of each row the other way round."""

    async def _answer(self, asked: object) -> tuple[Tensor, ...]:
        (tensor,) = await super()._answer(asked)  # type: ignore[arg-type]  # as it was asked
        halves = [tensor.data[place : place + 4] for place in range(0, len(tensor.data), 4)]
        turned = b"".join(b for pair in zip(halves[1::2], halves[::2], strict=True) for b in pair)
        return (tensor._replace(data=turned),)


def test_copies_are_answered_compared_and_counted_as_nobodys_requests() -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        for number in range(1, 6):
            assert await stage.ask() == 1
            await stage.seen(answered=number)
        assert await stage.seen() == Shadowed("cam-2", answered=5, compared=5)
        active, shadow = stage.window().models
        assert (active.arm, active.requests) == (Arm.ACTIVE, 5)
        assert (shadow.release, shadow.arm) == ("vision/digits@2", Arm.SHADOW)
        assert (shadow.requests, shadow.errors) == (5, {})
        assert (shadow.predictions.compared, shadow.predictions.disagreed) == (5, 0)
        assert shadow.predictions.classes == (0, 5)
        assert stage.slot.status().traffic.requests == 5

    play(test)


@pytest.mark.parametrize("rows", [1, INLINE_BYTES // len(ROW) + 1])
def test_an_answer_that_differs_is_counted_however_large_it_is(rows: int) -> None:
    async def test(stage: Stage) -> None:
        _, new = await stage.begin()
        new.__class__ = Otherwise
        await stage.ask(ROW * rows)
        assert await stage.seen(compared=1) == Shadowed("cam-2", 1, compared=1, disagreed=1)
        (shadow,) = [m for m in stage.window().models if m.arm is Arm.SHADOW]
        assert (shadow.predictions.compared, shadow.predictions.disagreed) == (1, 1)

    play(test)


def test_a_standby_that_hangs_costs_no_answer_and_a_bounded_line() -> None:
    async def test(stage: Stage) -> None:
        _, new = await stage.begin()
        new.gate = asyncio.Event()
        for _ in range(100):
            assert await stage.ask() == 1
        seen = await stage.seen()
        assert (seen.answered, seen.dropped) == (0, 100 - 1 - WAITING)
        (shadow,) = [m for m in stage.window().models if m.arm is Arm.SHADOW]
        assert shadow.errors == {ErrorKind.OVERLOADED: seen.dropped}

    play(test)


def test_a_full_line_goes_on_after_it_found_the_slots_own_worker_busy() -> None:
    async def test(stage: Stage) -> None:
        old, new = await stage.begin()
        new.gate = asyncio.Event()
        for _ in range(1 + WAITING):
            await stage.ask()
        old.gate = asyncio.Event()
        inside = asyncio.create_task(stage.ask())
        new.gate.set()
        # The first copy is answered, and its rest ends, while the request is inside.
        await stage.seen(answered=1)
        await asyncio.sleep(0.01)
        old.gate.set()
        assert await inside == 1
        assert (await stage.seen(answered=1 + WAITING)).compared == 1 + WAITING

    play(test)


def test_the_bytes_that_wait_are_bounded_too() -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        # Input and answer together are more than may wait.
        assert await stage.ask(ROW * (WAITING_BYTES // len(ROW) // 2 + 1)) == 1
        assert (await stage.seen()).dropped == 1

    play(test)


def test_a_standby_that_crashes_costs_no_answer_and_is_counted() -> None:
    async def test(stage: Stage) -> None:
        _, new = await stage.begin()
        new.alive = False
        stage.workshop.slow = asyncio.Event()
        for _ in range(5):
            assert await stage.ask() == 1
        assert stage.slot.status().traffic.crashes == 0
        seen = await stage.seen(dropped=1)
        assert (seen.answered, seen.compared) == (0, 0)

    play(test)


def test_a_worker_that_dies_of_a_copy_is_counted_as_lost_and_asked_again_when_it_is_back() -> None:
    async def test(stage: Stage) -> None:
        _, new = await stage.begin()
        new.hangs = True
        assert await stage.ask() == 1
        assert (await stage.seen(lost=1)).lost == 1
        while not (await stage.seen()).answered:
            # Until its worker was started again.
            assert await stage.ask() == 1
        (shadow,) = [m for m in stage.window().models if m.arm is Arm.SHADOW]
        assert shadow.errors[ErrorKind.HUNG] == 1

    play(test)


def test_what_the_standby_fails_on_is_told_to_nobody() -> None:
    async def test(stage: Stage) -> None:
        _, new = await stage.begin()
        new.fails_on = lambda _: True
        assert await stage.ask() == 1
        assert (await stage.seen(failed=1)) == Shadowed("cam-2", failed=1)

    play(test)


def test_a_copy_waits_until_the_slots_own_worker_has_nothing_inside() -> None:
    async def test(stage: Stage) -> None:
        old, new = await stage.begin()
        gates = [asyncio.Event(), asyncio.Event()]
        asked = []
        for gate in gates:
            old.gate = gate
            asked.append(asyncio.create_task(stage.ask()))
            for _ in range(5):
                await asyncio.sleep(0)
        gates[0].set()
        await asked[0]
        for _ in range(20):
            await asyncio.sleep(0)
        assert new.answered == 0
        gates[1].set()
        await asked[1]
        await stage.seen(answered=1)

    play(test)


def test_no_copy_is_made_of_what_another_place_answered() -> None:
    async def test(stage: Stage) -> None:
        old, _ = await stage.begin()
        old.fails_on = lambda _: True
        with pytest.raises(Exception, match="raised an error"):
            await stage.ask()
        assert await stage.seen() == Shadowed("cam-2")

    play(test)


def test_copies_end_when_the_standby_is_activated_or_dropped() -> None:
    async def activated(stage: Stage) -> None:
        await stage.begin()
        assert stage.slot.activate("cam-2", probation=True).shadow is None
        assert await stage.ask() == 2
        (model,) = stage.window().models
        assert model.arm is Arm.ACTIVE

    async def dropped(stage: Stage) -> None:
        await stage.begin()
        stage.slot.drop("cam-2")
        assert stage.slot.status().shadow is None
        assert await stage.ask() == 1

    play(activated)
    play(dropped)


def test_only_a_standby_gets_copies() -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        with pytest.raises(NotReady, match="no standby cam-1"):
            stage.slot.mirror("cam-1")

    play(test)


def test_answers_are_compared_by_the_rules_of_the_new_release() -> None:
    strict = deployment(agreement={"y": Agreement(Rule.EXACT)})
    ours = Tensor("y", DataType.FP32, (1, 2), struct.pack("<2f", 1.0, 3.0))
    theirs = ours._replace(data=ROW)
    assert says_the_same((ours,), (theirs,), deployment(), "onnx-fp32")
    assert not says_the_same((ours,), (theirs,), strict, "onnx-fp32")
    assert not says_the_same((), (theirs,), deployment(), "onnx-fp32")


@pytest.mark.parametrize(
    ("datatype", "one", "other"),
    [
        (DataType.BYTES, b"\x01\0\0\0a", b"\x01\0\0\0b"),
        (DataType.BF16, b"\x80\x3f", b"\x00\x40"),
        (DataType.INT64, bytes(8), b"\x01" + bytes(7)),
    ],
)
def test_every_datatype_is_compared(datatype: DataType, one: bytes, other: bytes) -> None:
    tensor = Tensor("y", datatype, (1,), one)
    contract = deployment(outputs=(TensorSpec("y", datatype, (-1,)),))
    assert says_the_same((tensor,), (tensor,), contract, "onnx-fp32")
    changed = tensor._replace(data=other)
    assert not says_the_same((changed,), (tensor,), contract, "onnx-fp32")
