"""Which workers of a slot go behind the others on the processors: those that only could answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sealane_agent.serving.messages import Load
from sealane_agent.serving.slots import Slot
from support.fake_workers import FakeWorker, FakeWorkshop, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def run(test: Callable[[Slot, FakeWorkshop], Awaitable[None]]) -> None:
    async def within() -> None:
        workshop = FakeWorkshop()
        slot = Slot("cam", workshop)
        try:
            async with asyncio.timeout(10):
                await test(slot, workshop)
        finally:
            await slot.close(0)

    asyncio.run(within())


async def serve(slot: Slot, workshop: FakeWorkshop, version: int, share: float = 1.0) -> FakeWorker:
    proved = await slot.load(Load("cam", pointer(version), 5))
    slot.activate(proved.worker, probation=share < 1.0, share=share)
    return workshop.workers[-1]


def test_the_active_worker_goes_first_and_the_warm_previous_one_stands_by() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        one, two = await serve(slot, workshop, 1), await serve(slot, workshop, 2)
        assert (one.stands_by, two.stands_by) == (True, False)
        slot.go_back()
        assert not one.stands_by

    run(test)


def test_both_parts_of_a_split_go_first_until_it_ends() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        one, two = await serve(slot, workshop, 1), await serve(slot, workshop, 2, share=0.5)
        assert (one.stands_by, two.stands_by) == (False, False)
        slot.settle()
        assert (one.stands_by, two.stands_by) == (True, False)

    run(test)


def test_a_standby_stands_by_also_when_its_worker_was_started_again() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        await slot.load(Load("cam", pointer(2), 5))
        standby = workshop.workers[-1]
        slot.mirror("cam-2")
        assert standby.stands_by
        standby.alive = False
        while len(workshop.workers) < 3:  # noqa: ASYNC110 - the slot tells nobody of a standby
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        assert workshop.workers[-1].stands_by

    run(test)


def test_the_previous_worker_comes_back_as_soon_as_the_active_one_is_lost() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        one, two = await serve(slot, workshop, 1), await serve(slot, workshop, 2)
        workshop.slow = asyncio.Event()
        two.alive = False
        assert (await slot.infer(None, inference())).pointer.release.version == 1
        assert not one.stands_by
        workshop.slow.set()
        while (await slot.infer(None, inference())).pointer.release.version == 1:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
        assert one.stands_by

    run(test)


def test_the_previous_worker_comes_back_for_the_requests_that_a_probation_fails() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        one = await serve(slot, workshop, 1)
        proved = await slot.load(Load("cam", pointer(2), 5))
        slot.activate(proved.worker, probation=True)
        assert one.stands_by
        workshop.workers[-1].fails_on = lambda _: True
        await slot.infer(None, inference())
        assert not one.stands_by

    run(test)


def test_a_request_for_the_previous_version_by_its_number_brings_its_worker_back() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        one, _ = await serve(slot, workshop, 1), await serve(slot, workshop, 2)
        assert (await slot.infer(1, inference())).pointer.release.version == 1
        assert not one.stands_by

    run(test)
