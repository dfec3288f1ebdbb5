from __future__ import annotations

import asyncio
import gc
import weakref
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sealane_agent.serving.messages import Load
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import (
    InvalidInference,
    LoadFailed,
    ModelFailed,
    ModelUnknown,
    NotReady,
    WorkerHung,
)
from support.eventually import until
from support.fake_workers import FakeWorkshop, deployment, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealane_agent.serving.messages import Proved
from support.fake_workers import FakeWorker


def run(test: Callable[[Slot, FakeWorkshop], Awaitable[None]]) -> None:
    async def within() -> None:
        workshop = FakeWorkshop()
        slot = Slot("cam", workshop)
        try:
            async with asyncio.timeout(60):
                await test(slot, workshop)
        finally:
            await slot.close(0)

    asyncio.run(within())


async def load(slot: Slot, version: int) -> Proved:
    return await slot.load(Load("cam", pointer(version), 60))


async def serve(slot: Slot, workshop: FakeWorkshop, version: int, **how: bool) -> FakeWorker:
    proved = await load(slot, version)
    slot.activate(proved.worker, probation=how.get("probation", False))
    return workshop.workers[-1]


async def answered_by(slot: Slot, wanted: int | None = None) -> int:
    answered = await slot.infer(wanted, inference())
    return answered.pointer.release.version


def test_a_slot_without_an_active_worker_is_not_ready() -> None:
    async def test(slot: Slot, _: FakeWorkshop) -> None:
        await load(slot, 1)
        with pytest.raises(NotReady):
            await slot.infer(None, inference())

    run(test)


def test_the_active_worker_answers_and_names_its_release() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 7)
        release, (tensor,), _ = await slot.infer(None, inference(b"abcdefgh"))
        assert (release.release.version, bytes(tensor.data)) == (7, b"abcdefgh")

    run(test)


def test_a_version_that_nothing_serves_is_unknown() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        with pytest.raises(ModelUnknown) as caught:
            await slot.infer(9, inference())
        assert caught.value.hint == "it serves 1"

    run(test)


def test_a_named_version_is_answered_by_the_warm_previous_model() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        await serve(slot, workshop, 2)
        assert await answered_by(slot, 1) == 1
        assert slot.versions == (2, 1)
        assert slot.status().traffic.requests == 0

    run(test)


def test_a_request_inside_the_old_worker_finishes_there_after_the_swap() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        old = await serve(slot, workshop, 1)
        old.gate = asyncio.Event()
        inside = asyncio.create_task(answered_by(slot))
        await asyncio.sleep(0)
        await serve(slot, workshop, 2)
        assert await answered_by(slot) == 2
        old.gate.set()
        assert await inside == 1

    run(test)


def test_a_retired_worker_drains_before_it_is_closed() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        old = await serve(slot, workshop, 1)
        old.gate = asyncio.Event()
        inside = asyncio.create_task(answered_by(slot))
        await asyncio.sleep(0)
        await serve(slot, workshop, 2)
        await serve(slot, workshop, 3)
        await asyncio.sleep(0.01)
        assert not old.closed
        old.gate.set()
        assert await inside == 1
        await until(lambda: old.closed)

    run(test)


def test_in_probation_the_previous_model_answers_what_the_new_one_fails() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2, probation=True)
        new.fails_on = lambda _: True
        assert await answered_by(slot) == 1
        traffic = slot.status().traffic
        assert (traffic.requests, traffic.errors, traffic.fallbacks) == (1, 1, 1)

    run(test)


def test_in_probation_the_previous_model_answers_what_the_new_contract_refuses() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2, probation=True)
        new.deployment = deployment(inputs=())
        assert await answered_by(slot) == 1
        assert slot.status().traffic.fallbacks == 1

    run(test)


def test_an_input_that_both_models_fail_on_is_not_held_against_the_new_one() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        workshop.prepare = lambda worker: setattr(worker, "fails_on", lambda _: True)
        await serve(slot, workshop, 1)
        await serve(slot, workshop, 2, probation=True)
        with pytest.raises(ModelFailed):
            await slot.infer(None, inference())
        assert slot.status().traffic.errors == 0

    run(test)


def test_a_failure_during_the_return_is_still_answered() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2, probation=True)
        new.gate, new.fails_on = asyncio.Event(), lambda _: True
        inside = asyncio.create_task(answered_by(slot))
        await asyncio.sleep(0)
        slot.go_back()
        new.gate.set()
        assert await inside == 1

    run(test)


def test_outside_probation_a_failure_of_the_model_goes_to_the_client() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2)
        new.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await slot.infer(None, inference())
        traffic = slot.status().traffic
        assert (traffic.requests, traffic.errors, traffic.fallbacks) == (1, 1, 0)

    run(test)


def test_an_invalid_request_is_the_clients_fault_and_not_counted() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        with pytest.raises(InvalidInference):
            await slot.infer(None, inference(b"123"))
        assert slot.status().traffic.requests == 0

    run(test)


@pytest.mark.parametrize("hang", [False, True])
def test_a_lost_worker_costs_no_request_and_comes_back(hang: bool) -> None:  # noqa: FBT001 - pytest passes parameters by name
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        active = await serve(slot, workshop, 2)
        active.gate = asyncio.Event()
        inside = asyncio.create_task(answered_by(slot))
        await asyncio.sleep(0)
        active.hangs, active.alive = hang, False
        active.gate.set()
        assert await inside == 1
        while await answered_by(slot) != 2:  # noqa: ASYNC110 - as a client would
            await asyncio.sleep(0)
        traffic = slot.status().traffic
        assert (traffic.crashes, traffic.hangs, traffic.errors) == (not hang, hang, 1)
        assert workshop.workers[-1].name == "cam-2.2"
        assert slot.status().active_worker == "cam-2"

    run(test)


def test_without_a_previous_model_requests_wait_for_the_restart() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        worker = await serve(slot, workshop, 1)
        workshop.slow = asyncio.Event()
        worker.alive = False
        waiting = [asyncio.create_task(answered_by(slot)) for _ in range(5)]
        await asyncio.sleep(0.01)
        workshop.slow.set()
        assert await asyncio.gather(*waiting) == [1] * 5

    run(test)


def test_an_input_that_kills_every_worker_is_given_up() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        workshop.prepare = lambda worker: setattr(worker, "hangs", True)
        await serve(slot, workshop, 1)
        with pytest.raises(WorkerHung):
            await slot.infer(None, inference())
        assert slot.status().traffic.hangs == 2

    run(test)


def test_an_idle_worker_that_dies_is_counted_and_started_again() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        worker, again = await serve(slot, workshop, 1), asyncio.Event()
        workshop.prepare = lambda _: again.set()
        worker.alive, worker.broke = False, "it reached its limit"
        await again.wait()
        assert slot.status().traffic.crashes == 1
        assert slot.status().broke == "it reached its limit"
        assert len(workshop.workers) == 2

    run(test)


def test_whatever_keeps_a_worker_from_starting_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubles = [RuntimeError("can't start new thread"), OSError("too many open files")]

    def trouble(_: FakeWorker) -> None:
        if troubles:
            raise troubles.pop()

    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        worker = await serve(slot, workshop, 1)
        workshop.prepare = trouble
        worker.alive = False
        await until(lambda: len(workshop.workers) > 1)
        assert await answered_by(slot) == 1

    run(test)
    assert "cam-1: could not be started: too many open files" in caplog.text


def test_a_slot_begins_from_its_pointer_and_a_request_waits_for_it() -> None:
    async def test(slot: Slot, _: FakeWorkshop) -> None:
        slot.begin(pointer(4))
        assert await answered_by(slot) == 4

    run(test)


def test_a_slot_whose_start_fails_says_so_at_once_and_tries_again() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        workshop.broken = 1
        slot.begin(pointer(4))
        with pytest.raises(NotReady):
            await slot.infer(None, inference())
        await until(lambda: all(place.is_up for place in slot.places))
        assert await answered_by(slot) == 4

    run(test)


def test_a_return_brings_the_previous_model_back_and_ends_the_failed_one() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2, probation=True)
        status = slot.go_back()
        assert status.active == pointer(1)
        assert not status.probation
        await until(lambda: new.closed)
        with pytest.raises(NotReady):
            slot.go_back()

    run(test)


def test_a_model_replaced_in_its_probation_is_nobodys_fallback() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        unproven = await serve(slot, workshop, 2, probation=True)
        await serve(slot, workshop, 3, probation=True)
        await until(lambda: unproven.closed)
        assert slot.status().previous == pointer(1)

    run(test)


def test_settling_ends_the_probation_and_keeps_the_previous_model_warm() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        await serve(slot, workshop, 2, probation=True)
        status = slot.settle()
        assert not status.probation
        assert status.previous == pointer(1)

    run(test)


def test_a_failed_load_changes_nothing() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        workshop.broken = 1
        with pytest.raises(LoadFailed):
            await load(slot, 2)
        assert slot.status().standby == ()
        assert await answered_by(slot) == 1

    run(test)


def test_a_dropped_standby_is_closed() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        proved = await load(slot, 1)
        assert slot.status().standby == (proved.worker,)
        slot.drop(proved.worker)
        await until(lambda: workshop.workers[0].closed)
        with pytest.raises(NotReady):
            slot.activate(proved.worker, probation=False)

    run(test)


def test_a_dropped_standby_leaves_nothing_for_the_garbage_collection() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        proved = await load(slot, 1)
        gone = weakref.ref(workshop.workers.pop())
        gc.disable()
        try:
            slot.drop(proved.worker)
            await until(lambda: gone() is None)
        finally:
            gc.enable()

    run(test)


def test_a_warm_previous_model_that_is_dropped_answers_nothing_any_more() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        old = await serve(slot, workshop, 1)
        new = await serve(slot, workshop, 2, probation=True)
        dropped = slot.status().previous_worker
        assert dropped
        slot.drop(dropped)
        assert (slot.versions, slot.status().previous_worker) == ((2,), "")
        await until(lambda: old.closed)
        new.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await slot.infer(None, inference())

    run(test)


def test_a_slot_whose_active_worker_is_dropped_serves_nothing_until_another_is_activated() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        slot.drop(slot.status().active_worker)
        with pytest.raises(NotReady):
            await slot.infer(None, inference())
        await serve(slot, workshop, 2)
        assert await answered_by(slot) == 2

    run(test)


def test_the_baseline_is_the_previous_models_latency() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        await answered_by(slot)
        await serve(slot, workshop, 2)
        traffic = slot.status().traffic
        assert traffic.baseline_p99_us > 0
        assert traffic.latency_p99_us == 0

    run(test)


def test_twenty_swaps_under_eight_clients_lose_nothing_and_never_name_a_wrong_version() -> None:
    async def test(slot: Slot, workshop: FakeWorkshop) -> None:
        await serve(slot, workshop, 1)
        stop = False
        seen: list[list[int]] = [[] for _ in range(8)]

        async def client(versions: list[int]) -> None:
            while not stop:
                versions.append(await answered_by(slot))

        def all_got(version: int) -> bool:
            return all(versions[-1:] == [version] for versions in seen)

        clients = [asyncio.create_task(client(versions)) for versions in seen]
        for version in range(2, 22):
            await serve(slot, workshop, version, probation=version % 2 == 0)
            slot.settle()
            await until(partial(all_got, version))
        stop = True
        await asyncio.gather(*clients)
        assert all(versions == sorted(versions) for versions in seen)
        assert sum(worker.answered for worker in workshop.workers) == sum(map(len, seen))
        assert all(set(range(2, 22)) <= set(versions) for versions in seen)

    run(test)
