from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from sealane.failure import FailureKind
from sealane_agent.serving.admission import RESERVE_LEAST, Need
from sealane_agent.serving.admitting import Admission
from sealane_agent.serving.dataplane import Dataplane
from sealane_agent.serving.messages import GivesWay, Load
from sealane_agent.serving.types import LoadFailed
from support.eventually import until
from support.fake_workers import FakeWorker, FakeWorkshop, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Proved
    from sealane_agent.serving.slots import Slot

ONE = 50_000_000
"""What a worker holds."""


@dataclass
class FakeMemory:
    """A machine without a limit of its own; a load is expected to take what a worker holds."""

    needs: dict[int, int] = field(default_factory=dict)

    def available(self) -> int:
        """Plenty."""
        return 2**40

    def expected(self, pointer: Pointer) -> Need:
        """By version."""
        return Need(self.needs.get(pointer.release.version, ONE), "measured here before")


class Device:
    """A dataplane on which so many workers fit."""

    def __init__(self, workers: float) -> None:
        self.workshop, self.memory = FakeWorkshop(), FakeMemory()
        self.plane = Dataplane(self.workshop)
        self.plane.admission = Admission(
            self.memory, lambda: self.plane.slots, together=int(workers * ONE)
        )

    async def load(self, slot: str, version: int, gives_way: GivesWay = GivesWay.IDLE) -> Proved:
        return await self.plane.prove(Load(slot, pointer(version), 60, gives_way=gives_way))

    async def serve(self, slot: str, version: int, *, probation: bool = False) -> FakeWorker:
        proved = await self.load(slot, version)
        self.slot(slot).activate(proved.worker, probation=probation)
        return self.workshop.workers[-1]

    def slot(self, name: str) -> Slot:
        return self.plane.slot(name)

    async def answered_by(self, slot: str) -> int:
        return (await self.plane.infer(slot, None, inference())).pointer.release.version

    @property
    def living(self) -> int:
        return sum(not worker.closed for worker in self.workshop.workers)


def run(workers: float, test: Callable[[Device], Awaitable[None]]) -> None:
    async def within() -> None:
        device = Device(workers)
        try:
            async with asyncio.timeout(60):
                await test(device)
        finally:
            await device.plane.close(0)

    asyncio.run(within())


def test_what_fits_is_loaded_beside_all_that_serves() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        await device.load("cam", 2)
        assert device.living == 2
        assert await device.answered_by("cam") == 1

    run(2, test)


def test_another_slots_warm_model_ends_before_the_load_begins() -> None:
    async def test(device: Device) -> None:
        await device.serve("gate", 1)
        await device.serve("gate", 2)
        warm = device.workshop.workers[0]
        await device.serve("cam", 3)
        assert warm.closed
        assert device.slot("gate").status().previous is None
        assert await device.answered_by("gate") == 2

    run(2, test)


def test_in_probation_the_model_before_is_given_up_for_nobody() -> None:
    async def test(device: Device) -> None:
        await device.serve("gate", 1)
        await device.serve("gate", 2, probation=True)
        with pytest.raises(LoadFailed) as caught:
            await device.load("cam", 3)
        assert caught.value.failure.kind is FailureKind.ENVIRONMENTAL
        assert caught.value.failure.component == "memory"
        assert device.slot("gate").status().previous == pointer(1)

    run(2, test)


def test_a_load_may_take_what_is_free_and_a_part_of_the_reserve_and_no_more() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        await device.load("cam", 2)
        assert device.workshop.asked[-1].at_most == 3 * ONE + RESERVE_LEAST

    run(4, test)


def test_two_loads_at_once_are_not_promised_the_same_memory() -> None:
    async def test(device: Device) -> None:
        device.workshop.slow = asyncio.Event()
        first = asyncio.create_task(device.load("cam", 1))
        second = asyncio.create_task(device.load("gate", 2))
        await until(second.done)
        with pytest.raises(LoadFailed, match=r"cam holds 48 MiB for vision/digits@1 \(loading\)"):
            await second
        device.workshop.slow.set()
        await first

    run(1.5, test)


def test_an_interrupted_slots_requests_wait_and_are_answered_by_the_new_model() -> None:
    async def test(device: Device) -> None:
        old = await device.serve("cam", 1)
        device.workshop.slow = asyncio.Event()
        loading = asyncio.create_task(device.load("cam", 2, GivesWay.SERVING))
        await until(lambda: old.closed)
        waiting = asyncio.create_task(device.answered_by("cam"))
        await asyncio.sleep(0)
        assert not device.plane.ready("cam", None)
        device.workshop.slow.set()
        proved = await loading
        device.slot("cam").activate(proved.worker, probation=True)
        assert await waiting == 2
        status = device.slot("cam").status()
        assert (status.previous, status.probation) == (None, True)

    run(1, test)


def test_an_interrupted_slot_serves_again_when_the_new_model_cannot_be_loaded() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        device.workshop.broken = 1
        with pytest.raises(LoadFailed, match="cannot be read"):
            await device.load("cam", 2, GivesWay.SERVING)
        assert await device.answered_by("cam") == 1
        assert device.living == 1

    run(1, test)


def test_an_interrupted_slot_serves_again_when_its_supervisor_goes_away() -> None:
    async def test(device: Device) -> None:
        old = await device.serve("cam", 1)
        device.workshop.slow = asyncio.Event()
        loading = asyncio.create_task(device.load("cam", 2, GivesWay.SERVING))
        await until(lambda: old.closed)
        loading.cancel()
        device.workshop.slow.set()
        assert await device.answered_by("cam") == 1

    run(1, test)


def test_an_interrupted_slot_serves_again_when_its_standby_is_dropped() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        proved = await device.load("cam", 2, GivesWay.SERVING)
        device.slot("cam").drop(proved.worker)
        assert await device.answered_by("cam") == 1
        assert device.living == 1

    run(1, test)


def test_a_slot_is_not_interrupted_for_an_ordinary_load() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        with pytest.raises(LoadFailed, match="it needs 48 MiB"):
            await device.load("cam", 2)
        assert await device.answered_by("cam") == 1

    run(1, test)


def test_what_took_more_than_expected_goes_again_and_what_serves_stays() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)

        def greedy(worker: FakeWorker) -> None:
            worker.proved_bytes = worker.held_bytes = 3 * ONE

        device.workshop.prepare = greedy
        with pytest.raises(LoadFailed, match=r"it needs 144 MiB .* \(measured just now\)"):
            await device.load("cam", 2)
        assert device.slot("cam").status().standby == ()
        assert await device.answered_by("cam") == 1

    run(2, test)


def test_a_dropped_standby_is_waited_for_before_the_next_is_judged() -> None:
    async def test(device: Device) -> None:
        await device.serve("cam", 1)
        proved = await device.load("cam", 2)
        device.slot("cam").drop(proved.worker)
        await device.load("cam", 3)
        assert device.living == 2

    run(2, test)


def test_a_worker_that_crashed_keeps_its_promise() -> None:
    async def test(device: Device) -> None:
        worker = await device.serve("cam", 1)
        device.workshop.slow = asyncio.Event()
        worker.alive, worker.held_bytes = False, 0
        await until(lambda: not device.plane.ready("cam", None))
        with pytest.raises(LoadFailed, match="cam holds 48 MiB"):
            await device.load("gate", 2)
        device.workshop.slow.set()

    run(1.5, test)
