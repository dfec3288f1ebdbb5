"""Takes one request through a slot: every attempt, and what it says about the active release.

What it comes to is `Answered`, or an error.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

from sealane.telemetry.types import Arm, ErrorKind

from sealane_agent.serving.results import KINDS, result_of
from sealane_agent.serving.routing import Attempt, Choice, Result, choose, tally
from sealane_agent.serving.types import Answered, NotReady, Overloaded, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.serving.place import Place
    from sealane_agent.serving.recorder import Series
    from sealane_agent.serving.routing import Situation
    from sealane_agent.serving.shadow import Shadow
    from sealane_agent.serving.traffic import Counters
    from sealane_agent.serving.types import Answer, Inference

    Outcome = Answered | ServingError
    Done = Callable[[Outcome], None]

WAIT_S: Final = 20.0
"""How long a request waits for a worker that is being started again."""


class Seats(Protocol):
    """The slot, as its requests see it."""

    name: str
    shadow: Shadow | None

    @property
    def activation(self) -> tuple[Place | None, Counters, bool]:
        """What a request that comes now is counted against."""
        ...

    def addressee(self, wanted: int | None) -> Place | None:
        """The place that a request which comes now is for, whoever answers it."""
        ...

    def situation(
        self, wanted: int | None, attempts: tuple[Attempt, ...] = (), *, turned: bool = False
    ) -> Situation:
        """What the routing decides on."""
        ...

    def seat(self, choice: Choice, error: ServingError) -> Place:
        """The chosen place; without one, raise this error or the choice's own."""
        ...

    async def wait(self, deadline: float) -> None:
        """Wait for a place to change; raises NotReady at the deadline, Overloaded in a crowd."""
        ...


class Request:
    """One request on its way through the slot: its attempts, and whom they count against.

    No task carries it: it goes on when its place answers. Only a request that has to wait for a
    place has a task meanwhile.
    """

    __slots__ = (
        "_active",
        "_addressee",
        "_answered",
        "_arm",
        "_arrived",
        "_attempts",
        "_begun",
        "_blamed",
        "_counters",
        "_deadline",
        "_done",
        "_finished",
        "_forgiven",
        "_inference",
        "_over",
        "_probation",
        "_series",
        "_slot",
        "_take_back",
        "_trying",
        "_turned",
        "_waiting",
        "_wanted",
    )

    def __init__(self, slot: Seats, wanted: int | None, inference: Inference, done: Done) -> None:
        self._slot = slot
        self._wanted = wanted
        self._inference = inference
        self._done = done
        self._arrived = self._begun = perf_counter()
        self._active, self._counters, self._probation = slot.activation
        self._addressee = slot.addressee(wanted)
        self._arm = self._addressee.told_arm if self._addressee else None
        self._turned = wanted is None and self._addressee is not self._active
        self._series = self._addressee.series if self._addressee else None
        self._blamed: list[tuple[Series, ErrorKind]] = []
        self._attempts: tuple[Attempt, ...] = ()
        self._answered: str | None = None
        self._finished = self._over = False
        self._deadline = 0.0
        self._trying: Place | None = None
        self._forgiven = False
        self._take_back: Callable[[], None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Try until somebody answers or the routing gives up."""
        place = self._addressee
        if place is None or not place.is_up:
            self._go_on(NotReady(f"{self._slot.name} serves nothing now"))
        else:
            self._ask(place, forgiven=self._probation and place is self._active)

    def cancel(self) -> None:
        """Nobody waits for it any longer."""
        if self._over:
            return
        if self._waiting is not None:
            self._waiting.cancel()
        if self._take_back is not None:
            self._take_back()
        self._end()

    def _try(self, place: Place) -> None:
        active, _, probation = self._slot.activation
        self._ask(place, forgiven=probation and place is active)

    def _ask(self, place: Place, *, forgiven: bool) -> None:
        self._trying, self._forgiven = place, forgiven
        self._take_back = None
        take_back = place.begin(self._inference, self._heard)
        if self._trying is place and self._take_back is None:
            self._take_back = take_back

    def _heard(self, answer: Answer | ServingError) -> None:
        place, self._trying, self._take_back = self._trying, None, None
        assert place is not None  # noqa: S101 - a place answers only what it was asked
        if isinstance(answer, ServingError):
            result = result_of(answer)
            self._blame(place, KINDS[result])
            place.totals.fail(KINDS[result], perf_counter() - self._arrived)
            forgiven = self._forgiven and result is not Result.EXPIRED
            self._attempts += (Attempt(place.name, result, forgiven),)
            self._begun = perf_counter()
            self._go_on(answer)
        else:
            self._succeed(place, answer)

    def _succeed(self, place: Place, tensors: Answer) -> None:
        now = perf_counter()
        micros, seconds = (now - self._begun) * 1e6, now - self._arrived
        place.lifetime.record(micros)
        inputs = self._inference.inputs
        rows = inputs[0].shape[0] if inputs and inputs[0].shape else 1
        place.totals.answer(now, seconds, rows)
        active, own = self._active, place is self._addressee
        if place is active:
            self._counters.latency.record(micros)
        self._answered = place.name
        self._finished = True
        series = self._series if own else place.helping
        if series is not None and self._series is not None:
            series.answer(now, seconds, self._inference, tensors)
        if own and not self._attempts:
            self._over = True
            if place is active:
                self._counters.count_answer()
        else:
            if self._series is not None and (series is not self._series or self._attempts):
                self._record_detour(self._series, series)
            self._end()
        self._done(Answered(place.pointer, tensors, self._told(place)))
        shadow = self._slot.shadow
        if shadow is not None and own and place is active:
            shadow.offer(self._inference, tensors)

    def _told(self, place: Place) -> Arm | None:
        """The arm that the client is told: while requests are split, and only then."""
        return self._arm if self._arm is None or place is self._addressee else Arm.PREVIOUS

    def _go_on(self, error: ServingError) -> None:
        """After an attempt, or when nobody could be tried at once."""
        choice = self._choose()
        if choice is Choice.WAIT:
            self._waiting = asyncio.create_task(self._wait(error))
            return
        try:
            place = self._slot.seat(choice, error)
        except ServingError as why:
            self._give_up(why, counted=choice is not Choice.UNKNOWN)
        else:
            self._try(place)

    def _choose(self) -> Choice:
        situation = self._slot.situation(self._wanted, self._attempts, turned=self._turned)
        return choose(situation)

    async def _wait(self, error: ServingError) -> None:
        self._deadline = self._deadline or asyncio.get_running_loop().time() + WAIT_S
        try:
            while self._choose() is Choice.WAIT:
                await self._slot.wait(self._deadline)
        except ServingError as why:
            self._waiting = None
            self._give_up(why, counted=True)
            return
        self._waiting = None
        self._begun = perf_counter()
        self._go_on(error)

    def _give_up(self, error: ServingError, *, counted: bool) -> None:
        self._finished = counted
        if not self._attempts:
            self._blame(self._addressee, _why_nobody(error))
        self._end()
        self._done(error)

    def _end(self) -> None:
        """Count the request, unless its client went away or it was for another place."""
        self._over = True
        if self._answered is None and self._series is not None:
            self._record_failure(self._series)
        active = self._active
        if self._finished and active is not None and self._addressee is active:
            self._counters.count(tally(active.name, self._attempts, self._answered))

    # Telemetry: an answer counts where it was computed, an error where it happened

    def _blame(self, place: Place | None, kind: ErrorKind) -> None:
        series = self._series if place is None or place is self._addressee else place.helping
        if series is not None and series not in dict(self._blamed):
            self._blamed.append((series, kind))

    def _record_detour(self, own: Series, answered: Series | None) -> None:
        """What an answer that did not come straight from its addressee says about that one."""
        kind = dict(self._blamed).get(own)
        if answered is own:
            own.stumble(kind or ErrorKind.CRASHED)
        elif kind or (answered and answered.key.arm is not Arm.ACTIVE):
            own.fail(kind or ErrorKind.CRASHED, self._inference, fallback=True)

    def _record_failure(self, own: Series) -> None:
        """Whoever tried failed it; nobody who could be blamed: the client went away."""
        if own not in dict(self._blamed):
            self._blamed.append((own, ErrorKind.CANCELLED))
        for series, kind in self._blamed:
            series.fail(kind, self._inference)


def _why_nobody(error: ServingError) -> ErrorKind:
    """Why no worker could even try: too many wait already, or none is there."""
    return ErrorKind.OVERLOADED if isinstance(error, Overloaded) else ErrorKind.CRASHED
