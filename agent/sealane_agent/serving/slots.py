"""Holds what serves in one slot, sends every request to one worker, and swaps workers.

A swap is one assignment between two requests: the loop is single-threaded, so no lock is needed.
Which worker answers, and what happens after a failure, is decided in `routing`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from sealane.names import SlotName
from sealane.telemetry.types import Arm

from sealane_agent.serving.admission import Part
from sealane_agent.serving.arms import record_arms
from sealane_agent.serving.histogram import Histogram
from sealane_agent.serving.leaving import Leaving
from sealane_agent.serving.messages import Load, SlotStatus, Traffic
from sealane_agent.serving.place import DRAIN_S, Place
from sealane_agent.serving.request import Request
from sealane_agent.serving.routing import Attempt, Choice, Health, Situation, choose
from sealane_agent.serving.shadow import Shadow
from sealane_agent.serving.traffic import Counters
from sealane_agent.serving.types import (
    LoadFailed,
    ModelUnknown,
    NotReady,
    Overloaded,
    ServingError,
)
from sealane_agent.serving.worker_launch import too_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Proved
    from sealane_agent.serving.recorder import Recorder
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.types import Answered, Inference, Worker

    Chance = Callable[[], float]

START_DEADLINE_S: Final = 120.0
"""How long the endpoint's own start of a worker may take: nobody else gives a deadline then."""

START_GRACE_S: Final = 2.0
"""What a start may take beyond its deadline to say why it missed it."""

WAITING: Final = 1024
"""Requests of one slot that may wait at once."""

GAP_S: Final = 30.0
"""How long a standby may wait to be activated for which its slot was interrupted."""

_log = logging.getLogger(__name__)


class StartWorker(Protocol):
    """How a worker comes to be."""

    async def __call__(self, name: str, load: Load) -> Worker:
        """Start, warm up and prove; raises LoadFailed."""
        ...


class Slot:
    """One slot: the active place, the warm previous one, and standbys.

    Attributes:
        shadow: the standby that gets copies of requests; None while none does.
    """

    def __init__(
        self,
        name: str,
        start: StartWorker,
        recorder: Recorder | None = None,
        chance: Chance = random.random,
    ) -> None:
        self.name = name
        self._start = start
        self._recorder = recorder
        self._chance = chance
        self._names = 0
        self._active: Place | None = None
        self._previous: Place | None = None
        self._standby: dict[str, Place] = {}
        self._probation = False
        self._share = 1.0
        self.shadow: Shadow | None = None
        self._counters = Counters()
        self._change = asyncio.Event()
        self._waiting = 0
        self._interrupted_at: float | None = None
        self._gap_s = 0.0
        self._leaving = Leaving()

    # Requests

    async def infer(self, wanted: int | None, inference: Inference) -> Answered:
        """Answer one request.

        Raises ModelUnknown, NotReady, InvalidInference, ModelFailed, Overloaded, WorkerDied or
        WorkerHung.
        """
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def tell(outcome: Outcome) -> None:
            if not answered.done():
                answered.set_result(outcome)

        take_back = self.ask(wanted, inference, tell)
        try:
            outcome = await answered
        except asyncio.CancelledError:
            take_back()
            raise
        if isinstance(outcome, ServingError):
            raise outcome
        return outcome

    def ask(
        self, wanted: int | None, inference: Inference, done: Callable[[Outcome], None]
    ) -> Callable[[], None]:
        """As `infer`, without a task: `done` is called once, later or before this returns.

        What is returned takes the request back; then `done` is not called any more.
        """
        request = Request(self, wanted, inference, done)
        request.begin()
        return request.cancel

    def find(self, wanted: int | None) -> Place:
        """The place that would answer now; raises ModelUnknown or NotReady."""
        return self.seat(choose(self.situation(wanted)), NotReady(f"{self.name} is being loaded"))

    @property
    def places(self) -> tuple[Place, ...]:
        """What may answer, the active place first."""
        return tuple(place for place in (self._active, self._previous) if place is not None)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that a request may name, the active one first."""
        return tuple(dict.fromkeys(place.pointer.release.version for place in self.places))

    def situation(
        self, wanted: int | None, attempts: tuple[Attempt, ...] = (), *, turned: bool = False
    ) -> Situation:
        """What the routing decides on."""
        return Situation(
            self._active.look() if self._active else None,
            self._previous.look() if self._previous else None,
            wanted,
            attempts,
            turned,
        )

    def seat(self, choice: Choice, error: ServingError) -> Place:
        """The chosen place; without one, raise this error or the choice's own."""
        if choice is Choice.ACTIVE and self._active is not None:
            return self._active
        if choice is Choice.PREVIOUS and self._previous is not None:
            return _called_upon(self._previous)
        if choice is Choice.UNKNOWN:
            known = ", ".join(map(str, self.versions))
            raise ModelUnknown(f"{self.name} has no such version", hint=f"it serves {known}")
        if choice is Choice.NOT_READY:
            raise NotReady(f"{self.name} serves nothing now", hint="come back later")
        raise error

    @property
    def activation(self) -> tuple[Place | None, Counters, bool]:
        """What a request that comes now is counted against."""
        return self._active, self._counters, self._probation

    def addressee(self, wanted: int | None) -> Place | None:
        """The place that a request which comes now is for, whoever answers it.

        In a split chance decides, anew for each request.
        """
        active, previous = self._active, self._previous
        if wanted is None and self._share < 1.0 and previous is not None:
            return active if self._chance() < self._share else previous
        if wanted is None or active is None or wanted == active.pointer.release.version:
            return active
        if previous is None or wanted != previous.pointer.release.version:
            return None
        return _called_upon(previous)

    async def wait(self, deadline: float) -> None:
        """Wait for a place to change; raises NotReady at the deadline, Overloaded in a crowd."""
        if self._waiting >= WAITING:
            raise Overloaded(f"{WAITING} requests wait for {self.name} already")
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._change.wait()
        except TimeoutError:
            raise NotReady(f"{self.name} is still being started", hint="come back later") from None
        finally:
            self._waiting -= 1

    # What places tell (see `place.Owner`)

    async def start(self, name: str, pointer: Pointer) -> Worker:
        """Start a worker for a place; raises LoadFailed."""
        load = Load(self.name, pointer, START_DEADLINE_S, awaited=True, stand_in=True)
        return await self._start_within(name, load)

    def lost(self, place: Place, *, hung: bool) -> None:
        """Count a worker that the active place lost."""
        if place is self._active:
            self._counters.count_loss(hung=hung)
        if self.shadow is not None and place is self.shadow.place:
            self.shadow.count_loss()
        if self._recorder is not None:
            self._recorder.count_restart()
        self.changed()

    def changed(self) -> None:
        """Wake the requests that wait."""
        self._rank()
        self._change.set()
        self._change = asyncio.Event()

    def _rank(self) -> None:
        """Who answers goes first on the processors; who only could stands by."""
        active, previous = self._active, self._previous
        helps = self._share < 1.0 or active is None or not active.is_up
        if active is not None:
            active.stand_by(stands_by=False)
        if previous is not None:
            previous.stand_by(stands_by=not helps)
        for place in self._standby.values():
            place.stand_by(stands_by=True)

    # Commands

    def begin(self, pointer: Pointer) -> None:
        """Serve this without having proved it before: at start, from the slot's pointer."""
        self._active = Place(self._next_name(), pointer, self)
        self._active.keep()
        self._record_arms()

    async def settled(self) -> None:
        """Wait until no place is being started."""
        while any(place.look().health is Health.COMING for place in self.places):
            await self._change.wait()

    def park(self) -> None:
        """Serve nothing until something is begun or activated; what is inside is answered."""
        self._end_shadow()
        self._end_interruption()
        for place in self.places:
            self._retire(place)
        self._active = self._previous = None
        self._begin_activation(probation=False)

    async def load(self, load: Load) -> Proved:
        """Start a standby; raises LoadFailed."""
        name = self._next_name()
        worker = await self._start_within(name, load)
        place = Place(name, load.pointer, self)
        place.keep(worker)
        place.stand_by(stands_by=True)
        self._standby[name] = place
        if self._is_interrupted:
            asyncio.get_running_loop().call_later(GAP_S, self._expire, name)
        return worker.proved

    def _expire(self, name: str) -> None:
        if name in self._standby and self._is_interrupted:
            self.drop(name)

    def activate(self, name: str, *, probation: bool, share: float = 1.0) -> SlotStatus:
        """Send requests to this standby from the next one on; raises NotReady.

        What was active becomes the warm previous, unless it was still in probation: nothing falls
        back on a model that was not kept. In probation it may get a share of the requests only.
        """
        if name not in self._standby:
            raise NotReady(f"{self.name} has no standby {name}", hint="load it first")
        self._end_shadow()
        former = self._active
        if not (self._probation or self._is_interrupted):
            former, self._previous = self._previous, self._active
        self._active = self._standby.pop(name)
        self._gap_s = self._end_interruption()
        if self._gap_s:
            _log.warning("%s: nobody served for %.1f s", self.name, self._gap_s)
        self._begin_activation(probation=probation, share=share)
        self._retire(former)
        return self.status()

    def mirror(self, name: str) -> SlotStatus:
        """Give this standby copies of what the active place answers; raises NotReady."""
        place = self._standby.get(name)
        if place is None:
            raise NotReady(f"{self.name} has no standby {name}", hint="load it first")
        self._end_shadow()
        place.unhurried = True
        if self._recorder is not None:
            series = self._recorder.series(SlotName(self.name), place.pointer, Arm.SHADOW)
            place.record_in(series, series)
        self.shadow = Shadow(place, self._is_busy)
        return self.status()

    def _is_busy(self) -> bool:
        return self._active is not None and self._active.inside > 0

    def _end_shadow(self) -> None:
        shadow, self.shadow = self.shadow, None
        if shadow is not None:
            shadow.close()
            shadow.place.unhurried = False

    def settle(self) -> SlotStatus:
        """End the probation."""
        self._probation, self._share = False, 1.0
        self._record_arms()
        self._rank()
        return self.status()

    def go_back(self) -> SlotStatus:
        """Send requests to the previous place, end the active one; raises NotReady."""
        if self._previous is None:
            raise NotReady(f"{self.name} has no previous model", hint="load one and activate it")
        failed, self._active, self._previous = self._active, self._previous, None
        self._begin_activation(probation=False)
        self._retire(failed)
        return self.status()

    def drop(self, name: str) -> None:
        """End a worker, whatever its place; it may be gone already."""
        gone = [each for each in (*self.places, *self._standby.values()) if each.name == name]
        self._standby.pop(name, None)
        if self._previous in gone:
            self._previous = None
            self._record_arms()
        if self._active in gone:
            self._active = None
            self._begin_activation(probation=False)
        if self.shadow is not None and self.shadow.place in gone:
            self._end_shadow()
        for place in gone:
            self._retire(place)
        if not self._standby:
            self.resume()

    # Memory (see `admitting`)

    @property
    def roll(self) -> tuple[tuple[Part, Place], ...]:
        """Every place that has memory or is promised some."""
        found = [
            (Part.ACTIVE, None if self._is_interrupted else self._active),
            (Part.PREVIOUS, self._previous),
            *((Part.STANDBY, place) for place in self._standby.values()),
            *((Part.LEAVING, place) for place in self._leaving.places),
        ]
        return tuple((part, place) for part, place in found if place is not None)

    @property
    def is_settled(self) -> bool:
        """Whether what serves is on its own: nothing falls back on the previous model."""
        return not self._probation

    async def give_up(self, names: Collection[str]) -> None:
        """End the warm previous model if it is named, and wait for all named ones to have ended."""
        if self._previous is not None and self._previous.name in names:
            self.drop(self._previous.name)
        await self._leaving.wait(names)

    async def interrupt(self) -> None:
        """End what serves, to make room; requests wait until a standby is activated, or it is back.

        A standby that nobody activates in time goes again.
        """
        if self._active is None or self._is_interrupted:
            return
        self._interrupted_at = asyncio.get_running_loop().time()
        if self._previous is not None:
            self.drop(self._previous.name)
        self._leaving.start(self._active.rest())
        await self._leaving.wait()

    def resume(self) -> None:
        """Let what was interrupted serve again, once nothing that ends has its memory."""
        place = self._active
        if place is not None and self._is_interrupted:
            gap_s = self._end_interruption()
            _log.warning("%s: nobody served for %.1f s, and nothing came of it", self.name, gap_s)
            self._leaving.start(self._serve_again(place))

    async def _serve_again(self, place: Place) -> None:
        await self._leaving.wait()
        if place in self.places:
            place.keep()

    @property
    def _is_interrupted(self) -> bool:
        return self._interrupted_at is not None

    def _end_interruption(self) -> float:
        """For how long nobody served, in seconds; 0 when somebody did."""
        begun, self._interrupted_at = self._interrupted_at, None
        return asyncio.get_running_loop().time() - begun if begun is not None else 0.0

    def status(self) -> SlotStatus:
        """As the supervisor is told."""
        baseline = self._previous.lifetime if self._previous else Histogram()
        return SlotStatus(
            slot=self.name,
            active=self._active.pointer if self._active else None,
            active_worker=self._active.name if self._active else "",
            previous=self._previous.pointer if self._previous else None,
            probation=self._probation,
            standby=tuple(self._standby),
            traffic=self._traffic(baseline),
            previous_worker=self._previous.name if self._previous else "",
            shadow=self.shadow.read() if self.shadow else None,
            broke=self._active.broke if self._active else "",
            gap_ms=round(self._gap_s * 1000),
            degraded=self._active.degraded if self._active else "",
        )

    def _traffic(self, baseline: Histogram) -> Traffic:
        """What was counted; memory costs a look at the process, and only probation asks for it."""
        counted = self._counters.read(baseline)
        if not (self._probation and self._active):
            return counted
        active = self._active
        return replace(counted, proved_bytes=active.memory_bytes, held_bytes=active.held_bytes)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Let the requests inside finish and end every worker."""
        self._end_shadow()
        self._end_interruption()
        places = [self._active, self._previous, *self._standby.values()]
        self._active = self._previous = None
        self._standby.clear()
        for place in places:
            self._retire(place, drain_s)
        self.changed()
        await self._leaving.wait()

    def _begin_activation(self, *, probation: bool, share: float = 1.0) -> None:
        self._probation, self._share = probation, share if probation else 1.0
        self._counters = Counters()
        self._record_arms()
        self.changed()

    def _record_arms(self) -> None:
        split = self._share < 1.0 and self._previous is not None
        record_arms(self._recorder, self.name, (self._active, self._previous), split=split)
        if self._recorder is not None:
            self._recorder.pace(SlotName(self.name), probation=self._probation)

    def _retire(self, place: Place | None, drain_s: float = DRAIN_S) -> None:
        if place is not None:
            self._leaving.start(place.close(drain_s), place)

    def _next_name(self) -> str:
        self._names += 1
        return f"{self.name}-{self._names}"

    async def _start_within(self, name: str, load: Load) -> Worker:
        try:
            async with asyncio.timeout(load.deadline_s + START_GRACE_S):
                return await self._start(name, load)
        except TimeoutError:
            raise LoadFailed(too_slow(load.pointer.variant, load.deadline_s)) from None


def _called_upon(place: Place) -> Place:
    """A place that is asked stands by no longer."""
    if place.stands_by:
        place.stand_by(stands_by=False)
    return place
