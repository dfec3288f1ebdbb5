"""Takes one request through a slot: every attempt, and what it says about the active release."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

from sealane.telemetry.types import Arm, ErrorKind

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
    from sealane_agent.serving.recorder import Series
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
_KINDS: Final = {
    Result.REFUSED: ErrorKind.REFUSED,
    Result.FAILED: ErrorKind.FAILED,
    Result.OVERLOADED: ErrorKind.OVERLOADED,
    Result.DIED: ErrorKind.CRASHED,
    Result.HUNG: ErrorKind.HUNG,
}
_FAILURES: Final = tuple(kind for kind, _ in _RESULTS)


def _result(error: ServingError) -> Result:
    return next(result for kind, result in _RESULTS if isinstance(error, kind))


class Request:
    """One request on its way through the slot: its attempts, and whom they count against."""

    def __init__(self, slot: Slot, wanted: int | None, inference: Inference) -> None:
        self._slot = slot
        self._wanted = wanted
        self._inference = inference
        self._arrived = self._begun = perf_counter()
        self._active, self._counters, _ = slot.activation
        self._addressee = self._active if wanted is None else slot.addressee(wanted)
        self._series = self._addressee.series if self._addressee else None
        self._blamed: list[tuple[Series, ErrorKind]] = []
        self._attempts: tuple[Attempt, ...] = ()
        self._answered: str | None = None
        self._finished = False
        self._deadline = 0.0

    async def run(self) -> tuple[Pointer, tuple[Tensor, ...]]:
        """Try until somebody answers or the routing gives up; raises what `Slot.infer` does."""
        error: ServingError = NotReady(f"{self._slot.name} serves nothing now")
        while True:
            place = await self._next_place(error)
            active, _, probation = self._slot.activation
            try:
                tensors = await place.infer(self._inference)
            except _FAILURES as caught:
                error = caught
                self._blame(place, _KINDS[_result(caught)])
                forgiven = probation and place is active
                self._attempts += (Attempt(place.name, _result(caught), forgiven),)
                self._begun = perf_counter()
                continue
            now = perf_counter()
            self._answer(place, now - self._begun)
            if self._series is not None:
                series = self._series if place is self._addressee else place.series
                if series is not None:
                    series.answer(now, now - self._arrived, self._inference, tensors)
                if series is not self._series or self._attempts:
                    self._record_detour(self._series, series)
            return place.pointer, tensors

    async def _next_place(self, error: ServingError) -> Place:
        while True:
            choice = choose(self._slot.situation(self._wanted, self._attempts))
            try:
                if choice is not Choice.WAIT:
                    return self._slot.seat(choice, error)
                await self._wait()
            except ServingError as why:
                self._finished = choice is not Choice.UNKNOWN
                if not self._attempts:
                    self._blame(self._addressee, _why_nobody(why))
                raise

    async def _wait(self) -> None:
        self._deadline = self._deadline or asyncio.get_running_loop().time() + WAIT_S
        await self._slot.wait(self._deadline)
        self._begun = perf_counter()

    def _answer(self, place: Place, seconds: float) -> None:
        micros = seconds * 1e6
        place.lifetime.record(micros)
        if place is self._active:
            self._counters.latency.record(micros)
        self._answered = place.name
        self._finished = True

    def count(self) -> None:
        """Count the request, unless its client went away or asked for another version."""
        if self._answered is None and self._series is not None:
            self._record_failure(self._series)
        active = self._active
        if not self._finished or active is None:
            return
        if self._wanted in {None, active.pointer.release.version}:
            self._counters.count(tally(active.name, self._attempts, self._answered))

    # Telemetry: an answer counts where it was computed, an error where it happened

    def _blame(self, place: Place | None, kind: ErrorKind) -> None:
        series = self._series if place is None or place is self._addressee else place.series
        if series is not None and series not in dict(self._blamed):
            self._blamed.append((series, kind))

    def _record_detour(self, own: Series, answered: Series | None) -> None:
        """What an answer that did not come straight from its addressee says about that one."""
        kind = dict(self._blamed).get(own)
        if answered is own:
            own.stumble(kind or ErrorKind.CRASHED)
        elif kind or (answered and answered.key.arm is not Arm.ACTIVE):
            own.fail(kind or ErrorKind.CRASHED, fallback=True)

    def _record_failure(self, own: Series) -> None:
        """Whoever tried failed it; nobody who could be blamed: the client went away."""
        if own not in dict(self._blamed):
            self._blamed.append((own, ErrorKind.CANCELLED))
        for series, kind in self._blamed:
            series.fail(kind)


def _why_nobody(error: ServingError) -> ErrorKind:
    """Why no worker could even try: too many wait already, or none is there."""
    return ErrorKind.OVERLOADED if isinstance(error, Overloaded) else ErrorKind.CRASHED
