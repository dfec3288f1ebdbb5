"""The worker's answers in slots that the test itself reads and writes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sealane_agent.runtimes.base import AcceleratorFailed, InferenceFailed
from sealane_agent.serving.bodies import Bodies, readable
from sealane_agent.serving.ring_frames import (
    Frame,
    Kind,
    Piece,
    read_frame,
    set_wanted,
    unset_wanted,
    write_frame,
)
from sealane_agent.worker.service import Responder
from support.workers import CLASSES, FEATURES, Recipe, deployment_of, expected, rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MOST_ROWS = 8


class Calculator:
    """`linear_model` in numpy; refuses rows that begin with a NaN, counts its calls."""

    version = "1"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def cancel(self) -> None:
        raise AssertionError("nobody stops it")

    def share(self) -> Calculator:
        return self

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        given = tensors["x"]
        self.calls.append(len(given))
        if np.isnan(given).any():
            raise InferenceFailed("a row is not a number")
        answer = expected(given)
        return {"y": answer, "label": answer.argmax(axis=1).astype("<i8")}


def responder(model: Calculator) -> Responder:
    contract = replace(deployment_of(Recipe(b"")), batch_rows=MOST_ROWS)
    return Responder(model, contract)


def slot_with(given: NDArray[np.float32], chosen: tuple[int, ...] = ()) -> memoryview:
    slot = memoryview(bytearray(4096))
    piece = Piece(0, given.shape, given.tobytes())
    write_frame(slot, Frame(Kind.REQUEST, (piece,), chosen))
    set_wanted(slot)
    return slot


def answer_in(slot: memoryview) -> NDArray[np.float32]:
    frame = read_frame(slot)
    assert frame.kind is Kind.ANSWER
    return np.frombuffer(frame.pieces[0].data, "<f4").reshape(-1, CLASSES)


def test_a_large_request_is_computed_where_its_body_lies() -> None:
    bodies, given = Bodies(), rows(4096)
    body = bodies.take(given.nbytes)
    body[:] = given.tobytes()
    slot = memoryview(bytearray(256 * 1024))
    piece = Piece(0, given.shape, body, body=bodies.place_of(body))
    answering = Responder(Calculator(), deployment_of(Recipe(b"")), readable(bodies.descriptor))
    for _ in range(2):
        write_frame(slot, Frame(Kind.REQUEST, (piece,)))
        set_wanted(slot)
        answering.respond(0, slot)
        np.testing.assert_allclose(answer_in(slot), expected(given), rtol=1e-5)


def together(model: Calculator, slots: Sequence[memoryview]) -> list[int]:
    return list(responder(model).respond_together(list(enumerate(slots)), MOST_ROWS))


def test_requests_that_wait_go_into_one_call_and_each_gets_its_own_rows() -> None:
    model = Calculator()
    given = [rows(count, seed=count) for count in (1, 2, 3)]
    slots = [slot_with(each) for each in given]
    assert together(model, slots) == [0, 1, 2]
    assert model.calls == [6]
    for each, slot in zip(given, slots, strict=True):
        np.testing.assert_allclose(answer_in(slot), expected(each), rtol=1e-5)


def test_no_call_gets_more_rows_than_the_bundle_allows() -> None:
    model = Calculator()
    slots = [slot_with(rows(3, seed=seed)) for seed in range(5)]
    assert sorted(together(model, slots)) == [0, 1, 2, 3, 4]
    assert model.calls == [6, 6, 3]


def test_a_request_that_an_engine_refuses_spoils_no_other() -> None:
    model = Calculator()
    bad = rows(1)
    bad[0, 0] = np.nan
    slots = [slot_with(rows(1, seed=5)), slot_with(bad), slot_with(rows(1, seed=6))]
    together(model, slots)
    assert [read_frame(slot).kind for slot in slots] == [Kind.ANSWER, Kind.FAILED, Kind.ANSWER]


def test_requests_for_other_outputs_or_that_nobody_waits_for_stay_apart() -> None:
    model = Calculator()
    slots = [slot_with(rows(1)), slot_with(rows(1), (0,)), slot_with(rows(1), (0,))]
    unset_wanted(slots[2])
    together(model, slots)
    assert model.calls == [1, 1]
    assert read_frame(slots[2]).kind is Kind.SKIPPED


def test_a_request_whose_deadline_has_passed_is_dropped_unseen() -> None:
    model = Calculator()
    slot = slot_with(rows(1))
    set_wanted(slot, time.monotonic() - 0.001)
    responder(model).respond(0, slot)
    assert (read_frame(slot).kind, model.calls) == (Kind.SKIPPED, [])
    set_wanted(slot, time.monotonic() + 60)
    write_frame(slot, Frame(Kind.REQUEST, (Piece(0, (1, FEATURES), rows(1).tobytes()),)))
    responder(model).respond(0, slot)
    assert read_frame(slot).kind is Kind.ANSWER


def test_a_repeated_request_is_answered_by_its_own_bytes() -> None:
    model = Calculator()
    answering = responder(model)
    slot = slot_with(rows(2, seed=1))
    for seed in (1, 2, 3):
        given = rows(2, seed=seed)
        write_frame(slot, Frame(Kind.REQUEST, (Piece(0, given.shape, given.tobytes()),)))
        answering.respond(4, slot)
        np.testing.assert_allclose(answer_in(slot), expected(given), rtol=1e-5)


class Lost(Calculator):
    """Its accelerator has fallen off the bus."""

    def infer(self, tensors: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        raise AcceleratorFailed(f"it is gone with {len(tensors)} tensors")


def test_a_lost_accelerator_ends_the_worker_and_answers_nobody() -> None:
    asked = slot_with(rows(1))
    with pytest.raises(AcceleratorFailed):
        responder(Lost()).respond(0, asked)
    with pytest.raises(AcceleratorFailed):
        list(responder(Lost()).respond_together([(0, asked), (1, slot_with(rows(1)))], MOST_ROWS))
