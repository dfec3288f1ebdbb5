"""Requests through a ring whose other end the test itself plays."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest
from sealane.bundle.types import DataType
from sealane_agent.serving.bodies import Bodies, readable
from sealane_agent.serving.exchange import TICK_S, WAITING
from sealane_agent.serving.geometry import PAGE
from sealane_agent.serving.patience import PAUSE_S
from sealane_agent.serving.ring import Handles, Ring
from sealane_agent.serving.ring_frames import (
    Frame,
    Kind,
    Piece,
    is_wanted,
    read_frame,
    write_frame,
)
from sealane_agent.serving.spinning import Spin
from sealane_agent.serving.types import (
    Expired,
    Form,
    Inference,
    InvalidInference,
    ModelFailed,
    Overloaded,
    Tensor,
    Terms,
    WorkerDied,
    WorkerHung,
)
from support.ring_stage import (
    ONE,
    PATIENT_S,
    SLOTS,
    label_of,
    play,
    settle,
    staged,
)
from support.workers import answer_of, renamed, request, rows

LARGE_ROWS = 4096
LARGE_SLOT = 64 * PAGE


def test_answers_reach_who_asked_whatever_their_order() -> None:
    async def scene() -> None:
        async with staged() as stage:
            first, second = stage.ask(), stage.ask()
            await settle()
            one, two = stage.take(), stage.take()
            stage.answer(two, 22)
            stage.answer(one, 11)
            assert (label_of(await first), label_of(await second)) == (11, 22)

    play(scene())


def test_whoever_waited_longest_gets_the_next_slot() -> None:
    async def scene() -> None:
        async with staged() as stage:
            tasks = [stage.ask() for _ in range(6)]

            for label in range(6):
                await settle()
                stage.answer(stage.take(), label)
            answered = await asyncio.gather(*tasks)
            assert [label_of(answer) for answer in answered] == list(range(6))

    play(scene())


def test_a_full_line_says_overloaded() -> None:
    async def scene() -> None:
        async with staged() as stage:
            waiting = [stage.ask() for _ in range(SLOTS + WAITING)]
            await settle()
            with pytest.raises(Overloaded):
                await stage.ask()
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)

    play(scene())


def test_a_request_that_was_cancelled_gives_its_slot_back_only_through_the_worker() -> None:
    async def scene() -> None:
        async with staged() as stage:
            cancelled = [stage.ask(), stage.ask()]
            await settle()
            for task in cancelled:
                task.cancel()
            await asyncio.wait(cancelled)
            after = stage.ask()
            await settle()
            one, two = stage.take(), stage.take()
            assert stage.ring.requests.take() is None
            assert not is_wanted(stage.ring.slot(one))
            stage.answer(one, 0, Kind.SKIPPED)
            stage.answer(two, 1)
            await settle()
            stage.answer(stage.take(), 7)
            assert label_of(await after) == 7

    play(scene())


def test_cancelled_requests_never_use_up_the_slots() -> None:
    async def scene() -> None:
        async with staged() as stage:
            for _ in range(20 * SLOTS):
                task = stage.ask()
                await settle()
                slot = stage.take()
                task.cancel()
                await asyncio.wait([task])
                stage.answer(slot, 0, Kind.SKIPPED)
                await settle()
            last = stage.ask()
            await settle()
            stage.answer(stage.take(), 5)
            assert label_of(await last) == 5
            await stage.exchange.drained()

    play(scene())


def test_a_cancelled_request_leaves_the_line() -> None:
    async def scene() -> None:
        async with staged() as stage:
            inside = [stage.ask() for _ in range(SLOTS)]
            waiting = [stage.ask() for _ in range(WAITING)]
            await settle()
            waiting[7].cancel()
            await settle()
            late = stage.ask()
            await settle()
            assert not late.done()
            for task in (*inside, *waiting, late):
                task.cancel()
            await asyncio.wait([*inside, *waiting, late])

    play(scene())


def test_an_error_of_the_engine_reaches_the_client() -> None:
    async def scene() -> None:
        async with staged() as stage:
            task = stage.ask()
            await settle()
            slot = stage.take()
            text = b"no such row"
            failed = Frame(Kind.FAILED, (Piece(0, (len(text),), text),))
            write_frame(stage.ring.slot(slot), failed)
            stage.ring.answers.put(slot)
            with pytest.raises(ModelFailed, match="no such row"):
                await task

    play(scene())


def test_a_request_larger_than_a_slot_is_the_clients_fault_and_costs_no_slot() -> None:
    async def scene() -> None:
        async with staged() as stage:
            for _ in range(2 * SLOTS):
                with pytest.raises(InvalidInference, match="bytes"):
                    await answer_of(stage.exchange, request(rows(1000)), PATIENT_S)
            task = stage.ask()
            await settle()
            stage.answer(stage.take(), 3)
            assert label_of(await task) == 3

    play(scene())


@pytest.mark.parametrize("inference", [renamed(ONE, "z"), request(rows(1), "nothing")])
def test_unknown_names_are_the_clients_fault(inference: Inference) -> None:
    async def scene() -> None:
        async with staged() as stage:
            with pytest.raises(InvalidInference):
                await answer_of(stage.exchange, inference, PATIENT_S)

    play(scene())


def test_the_request_in_a_slot_is_the_one_that_was_asked() -> None:
    async def scene() -> None:
        async with staged() as stage:
            task = stage.ask(request(rows(2), "label"))
            await settle()
            slot = stage.take()
            frame = read_frame(stage.ring.slot(slot))
            assert frame.chosen == (1,)
            assert [(piece.position, piece.shape) for piece in frame.pieces] == [(0, (2, 4))]
            assert bytes(frame.pieces[0].data) == rows(2).tobytes()
            stage.answer(slot, 1)
            await task

    play(scene())


def large(bodies: Bodies, form: Form | None = None) -> Inference:
    """A request that lies in the memory of bodies."""
    given = rows(LARGE_ROWS, len(form.elsewhere) if form else 1)
    body = bodies.take(given.nbytes)
    body[:] = given.tobytes()
    return Inference((Tensor("x", DataType.FP32, given.shape, body),), (), form)


def test_a_large_request_is_read_where_its_body_lies() -> None:
    async def scene() -> None:
        bodies, form = Bodies(), Form()
        async with staged(slot_bytes=LARGE_SLOT) as stage:
            stage.exchange.bodies = bodies
            others = [bodies.take(PAGE) for _ in range(2)]
            for expected in (rows(LARGE_ROWS, 0), rows(LARGE_ROWS, 1), rows(LARGE_ROWS, 1)):
                task = stage.ask(large(bodies, form))
                await settle()
                slot = stage.take()
                content = stage.ring.slot(slot)
                (piece,) = read_frame(content, readable(bodies.descriptor)).pieces
                assert bytes(piece.data) == expected.tobytes()
                assert expected.tobytes()[:64] not in bytes(content)
                stage.answer(slot, 1)
                await task
                del others[:1]
            assert form.layout is None

    play(scene())


def test_a_body_stays_until_the_worker_gives_its_request_back() -> None:
    async def scene() -> None:
        bodies = Bodies()
        async with staged(slot_bytes=LARGE_SLOT) as stage:
            stage.exchange.bodies = bodies
            task = stage.ask(large(bodies))
            await settle()
            slot = stage.take()
            task.cancel()
            await asyncio.wait([task])
            del task
            assert bodies.in_use == 1
            stage.answer(slot, 1)
            await settle()
            assert bodies.in_use == 0

    play(scene())


def test_a_request_larger_than_a_slot_is_refused_wherever_it_lies() -> None:
    async def scene() -> None:
        bodies = Bodies()
        async with staged() as stage:
            stage.exchange.bodies = bodies
            with pytest.raises(InvalidInference, match="serves 4096"):
                await stage.ask(large(bodies))

    play(scene())


def test_a_worker_that_takes_nothing_is_stuck_and_everybody_hears_it() -> None:
    async def scene() -> None:
        async with staged() as stage:
            inside, waiting = stage.ask(timeout_s=0), [stage.ask() for _ in range(SLOTS)]
            with pytest.raises(WorkerHung):
                await inside
            for task in waiting:
                with pytest.raises(WorkerHung):
                    await task
            assert len(stage.stuck) == 1

    play(scene())


def test_a_worker_is_not_blamed_for_time_in_which_the_endpoint_stood_still() -> None:
    async def scene() -> None:
        async with staged() as stage:
            asked = stage.ask(timeout_s=2 * TICK_S)
            await settle()
            slot = stage.take()
            time.sleep(TICK_S + PAUSE_S)  # noqa: ASYNC251 - the loop is meant to stand still
            await asyncio.sleep(0.001)
            assert stage.stuck == []
            stage.answer(slot, 7)
            assert label_of(await asked) == 7

    play(scene())


def test_who_waits_behind_a_slow_request_is_told_to_come_back() -> None:
    async def scene() -> None:
        async with staged() as stage:
            slow, behind = stage.ask(), stage.ask(timeout_s=0)
            await settle()
            slot = stage.take()
            stage.ring.begin_work(slot)
            with pytest.raises(Overloaded):
                await behind
            stage.answer(slot, 9)
            assert label_of(await slow) == 9
            assert not stage.stuck

    play(scene())


class Patient(Spin):
    """Looks for as long as the test says."""

    jump_s = PATIENT_S
    patience_s = PATIENT_S

    @property
    def limit_s(self) -> float:
        return self.patience_s


def test_an_answer_that_is_looked_for_is_given_before_the_question_returns() -> None:
    async def scene() -> None:
        async with staged(Patient(2)) as stage:
            worker = Ring.attach(Handles(*map(os.dup, stage.ring.handles.all())))

            def work() -> None:
                while (slot := worker.requests.take()) is None:
                    time.sleep(0)
                piece = Piece(1, (1,), (7).to_bytes(8, "little"))
                write_frame(worker.slot(slot), Frame(Kind.ANSWER, (piece,)))
                worker.answers.put(slot)

            working = threading.Thread(target=work)
            working.start()
            heard: list[object] = []
            stage.exchange.begin(ONE, PATIENT_S, heard.append)
            assert len(heard) == 1
            working.join()
            worker.close()

    play(scene())


def test_who_asks_with_others_is_not_made_to_wait_for_each_answer() -> None:
    async def scene() -> None:
        spin = Patient(2)
        async with staged(spin) as stage:
            spin.patience_s = 0.0
            others = stage.ask()
            await settle()
            spin.patience_s = PATIENT_S
            heard: list[object] = []
            stage.exchange.begin(ONE, PATIENT_S, heard.append)
            assert not heard
            stage.answer(stage.take(), 1)
            assert label_of(await others) == 1

    play(scene())


def test_requests_of_one_turn_of_the_loop_wake_the_worker_once_and_a_lone_one_at_once() -> None:
    async def scene() -> None:
        async with staged() as stage:
            bell = stage.ring.handles.worker_bell
            assert stage.ring.requests.sleep()
            stage.exchange.begin(ONE, PATIENT_S, list[object]().append)
            assert os.eventfd_read(bell) == 1
            stage.take()
            assert stage.ring.requests.sleep()
            stage.exchange.begin(ONE, PATIENT_S, list[object]().append)
            with pytest.raises(BlockingIOError):
                os.eventfd_read(bell)
            await settle()
            assert os.eventfd_read(bell) == 1
            stage.take()

    play(scene())


def test_a_worker_that_is_gone_before_it_would_be_woken_is_left_alone() -> None:
    async def scene() -> None:
        wrong: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, told: wrong.append(told))
        async with staged() as stage:
            for _ in range(SLOTS):
                stage.exchange.begin(ONE, PATIENT_S, list[object]().append)
            stage.exchange.fail_all(lambda: WorkerDied("it is over"))
        await settle()
        assert wrong == []

    play(scene())


@pytest.mark.parametrize("slot", [0, 1, 2, 2**40])
def test_a_slot_that_was_not_asked_for_ends_the_worker(slot: int) -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.ring.answers.put(slot)
            await settle()
            assert len(stage.stuck) == 1

    play(scene())


def test_what_the_worker_skips_because_its_time_is_over_is_expired_and_ends_no_worker() -> None:
    async def scene() -> None:
        async with staged() as stage:
            hurried = ONE._replace(terms=Terms(time.monotonic() + 0.001))
            asked, other = stage.ask(hurried), stage.ask()
            await settle()
            first, second = stage.take(), stage.take()
            while is_wanted(stage.ring.slot(first), time.monotonic_ns()):
                pass  # the endpoint must not look before the worker does
            stage.answer(first, 0, Kind.SKIPPED)
            stage.answer(second, 22)
            with pytest.raises(Expired):
                await asked
            assert label_of(await other) == 22
            assert not stage.stuck

    play(scene())


def test_a_worker_that_skips_what_has_no_deadline_breaks_the_rules() -> None:
    async def scene() -> None:
        async with staged() as stage:
            asked = stage.ask()
            await settle()
            stage.answer(stage.take(), 0, Kind.SKIPPED)
            with pytest.raises(WorkerHung, match="SKIPPED is no answer"):
                await asked

    play(scene())


def test_an_answer_that_is_no_frame_ends_the_worker() -> None:
    async def scene() -> None:
        async with staged() as stage:
            task = stage.ask()
            await settle()
            slot = stage.take()
            stage.ring.slot(slot)[8:32] = b"\xff" * 24
            stage.ring.answers.put(slot)
            with pytest.raises(WorkerHung, match="rules"):
                await task

    play(scene())


def test_a_tail_that_ran_away_does_not_hold_up_the_endpoint() -> None:
    async def scene() -> None:
        async with staged() as stage:
            stage.ring._words[32] = 2**63
            stage.ring._words[40] = 0
            stage.ring.answers.put(0)
            stage.ring._words[32] = 2**63
            await settle()
            task = stage.ask(timeout_s=0)
            with pytest.raises(WorkerHung):
                await task
            assert stage.stuck

    play(scene())


def test_answers_that_were_ready_when_the_worker_died_are_delivered() -> None:
    async def scene() -> None:
        async with staged() as stage:
            answered, lost = stage.ask(), stage.ask()
            await settle()
            stage.answer(stage.take(), 4)
            stage.exchange.fail_all(lambda: WorkerDied("gone"))
            assert label_of(await answered) == 4
            with pytest.raises(WorkerDied):
                await lost

    play(scene())
