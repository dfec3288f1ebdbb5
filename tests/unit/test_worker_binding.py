"""A worker that binds its engine to requests that repeat themselves, and what it does not trust."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sealane_agent.runtimes.base import InferenceFailed
from sealane_agent.serving.ring_frames import (
    Frame,
    Kind,
    Piece,
    read_frame,
    set_wanted,
    write_frame,
)
from sealane_agent.worker.binding import ANSWER_BYTES
from sealane_agent.worker.service import Responder
from support.workers import CLASSES, Recipe, deployment_of, expected, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]


class Engine:
    """`linear_model` in numpy, which can be bound; counts how it was asked.

    Attributes:
        chance: what is added to what it answers bound.
        blind: it leaves an output where it was.
        stiff: bound, it refuses an answer of more or fewer than so many labels.
    """

    version = "1"

    def __init__(self, chance: float = 0.0, *, blind: bool = False) -> None:
        self.chance, self.blind = chance, blind
        self.binds = True
        self.stiff = False
        self.plain = self.bound = 0

    def cancel(self) -> None:
        raise AssertionError("nobody stops it")

    def share(self) -> Engine:
        return self

    def infer(self, tensors: Arrays) -> Arrays:
        self.plain += 1
        return self._answer(tensors)

    def bind(self, tensors: Arrays, answer: Arrays) -> Callable[[], None] | None:
        def compute() -> None:
            self.bound += 1
            if self.stiff:
                raise InferenceFailed("the answer has another shape")
            for name, array in self._answer(tensors).items():
                if not (self.blind and name == "label"):
                    answer[name][...] = array + (self.chance if name == "y" else 0)

        return compute if self.binds else None

    def _answer(self, tensors: Arrays) -> Arrays:
        if np.isnan(tensors["x"]).any():
            raise InferenceFailed("a row is not a number")
        answer = expected(tensors["x"])
        return {"y": answer, "label": answer.argmax(axis=1).astype("<i8")}


class Served:
    """A responder and one slot of its ring."""

    def __init__(self, engine: Engine) -> None:
        self.slot = memoryview(bytearray(64 * 1024))
        self.responder = Responder(engine, deployment_of(Recipe(b"")))
        self.responder.bind_to_slots()

    def ask(self, given: NDArray[np.float32], chosen: tuple[int, ...] = ()) -> Frame:
        piece = Piece(0, given.shape, given.tobytes())
        write_frame(self.slot, Frame(Kind.REQUEST, (piece,), chosen))
        set_wanted(self.slot)
        self.responder.respond(0, self.slot)
        return read_frame(self.slot)

    def is_right(self, seed: int, count: int = 1) -> bool:
        given = rows(count, seed=seed)
        frame = self.ask(given)
        answer = np.frombuffer(frame.pieces[0].data, "<f4").reshape(-1, CLASSES)
        labels = np.frombuffer(frame.pieces[1].data, "<i8")
        return np.allclose(answer, expected(given), rtol=1e-5) and np.array_equal(
            labels, expected(given).argmax(axis=1)
        )


def test_a_request_that_repeats_itself_is_computed_where_it_lies_and_answered_as_before() -> None:
    engine = Engine()
    served = Served(engine)
    assert all(served.is_right(seed) for seed in range(20))
    assert (engine.plain, engine.bound) == (2, 19)


def test_forms_take_turns_and_each_gets_its_own_answers() -> None:
    engine = Engine()
    served = Served(engine)
    assert all(served.is_right(seed, count) for seed in range(10) for count in (1, 3, 2))
    assert engine.plain == 6


def test_only_the_outputs_that_were_asked_for_are_answered() -> None:
    served = Served(Engine())
    for seed in range(4):
        given = rows(1, seed=seed)
        (piece,) = served.ask(given, chosen=(1,)).pieces
        assert piece.position == 1
        assert struct.unpack("<q", piece.data)[0] == expected(given).argmax()


@pytest.mark.parametrize("engine", [Engine(chance=1e-3), Engine(blind=True)])
def test_what_answered_bound_otherwise_is_never_bound_again(engine: Engine) -> None:
    served = Served(engine)
    assert all(served.is_right(seed, count) for seed in range(5) for count in (1, 2))
    assert engine.bound == 1


def test_an_engine_that_refuses_bound_is_asked_as_before() -> None:
    engine = Engine()
    served = Served(engine)
    assert all(served.is_right(seed) for seed in range(3))
    engine.stiff = True
    assert all(served.is_right(seed) for seed in range(3))
    assert (engine.plain, engine.bound) == (5, 3)


def test_an_input_that_is_refused_costs_later_ones_nothing() -> None:
    engine = Engine()
    served = Served(engine)
    assert all(served.is_right(seed) for seed in range(3))
    assert served.ask(np.full_like(rows(1), np.nan)).kind is Kind.FAILED
    before = engine.plain
    assert all(served.is_right(seed) for seed in range(3))
    assert engine.plain == before


def test_large_answers_and_engines_that_cannot_are_left_alone() -> None:
    large, other = Engine(), Engine()
    other.binds = False
    for engine, count in ((large, ANSWER_BYTES // CLASSES), (other, 1)):
        served = Served(engine)
        assert all(served.is_right(seed, count) for seed in range(3))
    assert (large.bound, other.bound) == (0, 0)
