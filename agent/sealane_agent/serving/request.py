"""Takes one request through a slot: every attempt, and what it says about the active release."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

from sealane_agent.serving.routing import Attempt, Choice, Result, choose, tally
from sealane_agent.serving.types import (
    InvalidInference,
    ModelFailed,
    NotReady,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
)

if TYPE_CHECKING:
    from sealane_agent.layout import Pointer
    from sealane_agent.serving.place import Place
    from sealane_agent.serving.slots import Slot
    from sealane_agent.serving.types import Inference, Tensor

WAIT_S: Final = 20.0
"""How long a request waits for a worker that is being started again."""

_RESULTS: Final[tuple[tuple[type[ServingError], Result], ...]] = (
    (InvalidInference, Result.REFUSED),
    (ModelFailed, Result.FAILED),
    (Overloaded, Result.OVERLOADED),
    (WorkerDied, Result.DIED),
    (WorkerHung, Result.HUNG),
)
_FAILURES: Final = tuple(kind for kind, _ in _RESULTS)


def _result(error: ServingError) -> Result:
    return next(result for kind, result in _RESULTS if isinstance(error, kind))


class Request:
    """One request on its way through the slot: its attempts, and whom they count against."""

    def __init__(self, slot: Slot, wanted: int | None) -> None:
        self._slot = slot
        self._wanted = wanted
        self._active, self._counters, _ = slot.activation
        self._attempts: tuple[Attempt, ...] = ()
        self._answered: str | None = None
        self._finished = False
        self._deadline = 0.0

    async def run(self, inference: Inference) -> tuple[Pointer, tuple[Tensor, ...]]:
        """Try until somebody answers or the routing gives up; raises what `Slot.infer` does."""
        error: ServingError = NotReady(f"{self._slot.name} serves nothing now")
        while True:
            place = await self._next_place(error)
            active, _, probation = self._slot.activation
            begun = perf_counter()
            try:
                tensors = await place.infer(inference)
            except _FAILURES as caught:
                error = caught
                forgiven = probation and place is active
                self._attempts += (Attempt(place.name, _result(caught), forgiven),)
                continue
            self._answer(place, perf_counter() - begun)
            return place.pointer, tensors

    async def _next_place(self, error: ServingError) -> Place:
        while True:
            choice = choose(self._slot.situation(self._wanted, self._attempts))
            try:
                if choice is not Choice.WAIT:
                    return self._slot.seat(choice, error)
                await self._wait()
            except ServingError:
                self._finished = choice is not Choice.UNKNOWN
                raise

    async def _wait(self) -> None:
        self._deadline = self._deadline or asyncio.get_running_loop().time() + WAIT_S
        await self._slot.wait(self._deadline)

    def _answer(self, place: Place, seconds: float) -> None:
        micros = seconds * 1e6
        place.lifetime.record(micros)
        if place is self._active:
            self._counters.latency.record(micros)
        self._answered = place.name
        self._finished = True

    def count(self) -> None:
        """Count the request, unless its client went away or asked for another version."""
        active = self._active
        if not self._finished or active is None:
            return
        if self._wanted in {None, active.pointer.release.version}:
            self._counters.count(tally(active.name, self._attempts, self._answered))
