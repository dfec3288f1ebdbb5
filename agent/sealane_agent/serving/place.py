"""Keeps one variant answering: its worker, the requests inside it, and a new worker after a crash.

A place outlives its workers: the supervisor knows it by one name, whatever happened inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

from sealane_agent.serving.histogram import Histogram
from sealane_agent.serving.lanes import URGENT
from sealane_agent.serving.pace import Pace
from sealane_agent.serving.routing import HANG_MAX_S, Health, Standing, hang_after_s
from sealane_agent.serving.totals import Totals
from sealane_agent.serving.types import (
    InvalidInference,
    LoadFailed,
    NotReady,
    Overloaded,
    ServingError,
    WorkerDied,
    WorkerHung,
    nothing,
)
from sealane_agent.serving.validation import check_inference

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.bundle.types import Deployment
    from sealane.telemetry.types import Arm

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.recorder import Series
    from sealane_agent.serving.types import Answer, Inference, Worker

RESTART_FIRST_S: Final = 0.1
"""Wait before the second start in a row; each one after waits twice as long."""

RESTART_MAX_S: Final = 30.0
"""Longest wait between two starts."""

WATCH_S: Final = 0.5
"""How often a worker that nobody asks is looked at."""

DRAIN_S: Final = 30.0
"""How long the requests inside a worker may take once it is replaced."""

_LOST: Final = (WorkerDied, WorkerHung)

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """The slot, as its places see it."""

    async def start(self, name: str, pointer: Pointer) -> Worker:
        """Start a worker for a place; raises LoadFailed."""
        ...

    def lost(self, place: Place, *, hung: bool) -> None:
        """Hear that the place's worker is gone."""
        ...

    def changed(self) -> None:
        """Hear that a place has a worker again, or gave up on one."""
        ...


class Place:
    """One variant in a slot.

    Attributes:
        series: counts the requests that are for it.
        helping: counts those that it answered because the place they were for could not.
        told_arm: its part in a split; None while there is none.
        broke: the limit for which a worker of it was ended last, as a sentence.
        promised_bytes: what it held when it was proved, also while it is started again; 0 before.
        unhurried: nobody waits for its answers, so that it is called hung as late as can be.
        stands_by: others answer, so that its worker goes behind theirs on the processors.
    """

    def __init__(self, name: str, pointer: Pointer, owner: Owner) -> None:
        self.name = name
        self.pointer = pointer
        self.lifetime = Histogram()
        self.totals = Totals()
        self.series: Series | None = None
        self.helping: Series | None = None
        self.told_arm: Arm | None = None
        self.unhurried = False
        self.stands_by = False
        self.broke = ""
        self._owner = owner
        self._worker: Worker | None = None
        self._deployment: Deployment | None = None
        self._down = False
        self._starts = 0
        self._inside = 0
        self.promised_bytes = 0
        self._pace = Pace(0.0)
        self._idle = asyncio.Event()
        self._missed = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    def keep(self, worker: Worker | None = None) -> None:
        """Begin to keep a worker: this one, or one to be started."""
        if worker is not None:
            self._starts = 1
            self._take(worker)
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def stand_by(self, *, stands_by: bool) -> None:
        """Answer only what others cannot, or take part; this worker and those that follow it."""
        self.stands_by = stands_by
        if self._worker is not None:
            self._worker.stand_by(stands_by=stands_by)

    def record_in(self, series: Series, helping: Series) -> None:
        """Count from now on what is for it in one series, and other places' requests in another."""
        self.series, self.helping = series, helping
        self._introduce()

    def look(self) -> Standing:
        """As the routing sees it; a worker that has died since is noticed now."""
        if self._worker is not None and not self._worker.alive:
            self._lose(self._worker)
        return Standing(self.name, self.pointer.release.version, self._health())

    def _health(self) -> Health:
        if self._worker is not None:
            return Health.UP
        return Health.DOWN if self._down else Health.COMING

    @property
    def deployment(self) -> Deployment:
        """The bundle's contract; raises NotReady before the first worker is there."""
        if self._deployment is None:
            raise NotReady("the model is still being loaded")
        return self._deployment

    @property
    def variant(self) -> str:
        """Which one runs: another than its pointer names where that one's accelerator fails."""
        return self._worker.pointer.variant if self._worker else self.pointer.variant

    @property
    def degraded(self) -> str:
        """Why another variant stands in; empty when none does."""
        return self._worker.degraded if self._worker else ""

    @property
    def inside(self) -> int:
        """Requests that its worker has or that wait for it."""
        return self._inside

    @property
    def memory_bytes(self) -> int:
        """Of its worker when it was proved; 0 while there is none."""
        return self._worker.proved.memory_bytes if self._worker else 0

    @property
    def peak_bytes(self) -> int:
        """The most that its worker held until it was proved; 0 while there is none."""
        return self._worker.peak_bytes if self._worker else 0

    @property
    def held_bytes(self) -> int:
        """Of its worker now; 0 while there is none."""
        return self._worker.held_bytes if self._worker else 0

    @property
    def is_up(self) -> bool:
        """Whether it can be asked now."""
        worker = self._worker
        return worker is not None and worker.alive

    def begin(
        self, inference: Inference, done: Callable[[Answer | ServingError], None]
    ) -> Callable[[], None]:
        """Answer one request: `done` is called once, later or before this returns.

        It gets the answer, or InvalidInference, ModelFailed, WorkerDied, WorkerHung or Overloaded.
        What is returned takes the request back, as long as `done` was not called.
        """
        worker = self._worker
        if worker is None:
            done(WorkerDied("the model's process is being started again"))
            return nothing
        form = inference.form
        if form is None or form.fits is not worker.deployment:
            try:
                check_inference(worker.deployment, inference)
            except InvalidInference as error:
                done(error)
                return nothing
            if form is not None:
                form.fits = worker.deployment
        if not (self._pace.has_room(self._inside) or inference.terms.priority <= URGENT):
            done(Overloaded(f"{self._inside} requests wait already", hint="come back later"))
            return nothing
        self._inside += 1
        take_back = worker.begin(
            inference, self._patience(worker, inference), partial(self._ended, worker, done)
        )
        return partial(self._taken_back, take_back)

    def _ended(
        self,
        worker: Worker,
        done: Callable[[Answer | ServingError], None],
        answer: Answer | ServingError,
    ) -> None:
        self._leave()
        if not isinstance(answer, ServingError):
            self._pace.answered(perf_counter(), self._inside)
        elif isinstance(answer, _LOST):
            self._lose(worker, answer)
        done(answer)

    def _taken_back(self, take_back: Callable[[], None]) -> None:
        take_back()
        self._leave()

    def _leave(self) -> None:
        self._inside -= 1
        if not self._inside:
            self._idle.set()

    def _patience(self, worker: Worker, inference: Inference) -> float:
        if self.unhurried:
            return HANG_MAX_S
        shape = inference.inputs[0].shape if inference.inputs else ()
        return hang_after_s(worker.proved.latency_us, shape[0] if shape else 1)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Let the requests inside finish, at most for so long, then end the worker."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            # What it was cancelled with knows its frames, and they know this place.
            self._keeper = None
        if self._inside:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self._idle.wait()
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close(drain_s)

    async def rest(self) -> None:
        """End the worker once it has answered what is inside; `keep` begins again.

        Requests that come meanwhile wait.
        """
        worker, self._worker = self._worker, None
        await self.close()
        if worker is not None:
            await worker.close(DRAIN_S)
        self._down = False

    def _take(self, worker: Worker) -> None:
        self._worker = worker
        self._deployment = worker.deployment
        self.promised_bytes = worker.proved.memory_bytes
        self._pace = Pace(worker.proved.latency_us / 1e6)
        self._down = False
        self._introduce()
        self._owner.changed()

    def _introduce(self) -> None:
        if self._worker is not None:
            waits = self.series.waits if self.series else None
            self._worker.record_times(self.totals, waits)
        for series in (self.series, self.helping):
            if series is not None and self._deployment is not None:
                series.understand(self._deployment)

    def _lose(self, worker: Worker, why: ServingError | None = None) -> None:
        if worker is not self._worker:
            return
        self._worker = None
        self._missed.set()
        hung = isinstance(why, WorkerHung)
        self._owner.lost(self, hung=hung)
        self.broke = worker.broke or self.broke
        what = worker.broke or (f"hung and was stopped: {why}" if hung else "died")
        _log.warning("%s: its worker: %s", self.name, what)

    async def _keep(self) -> None:
        delay = RESTART_FIRST_S
        while True:
            if self._worker is not None:
                delay = await self._watch(self._worker, delay)
            elif not await self._start():
                await asyncio.sleep(delay)
                delay = min(RESTART_MAX_S, delay * 2)

    async def _watch(self, worker: Worker, delay: float) -> float:
        """Wait until the worker is gone; a worker that stayed a while forgives earlier crashes."""
        begun = asyncio.get_running_loop().time()
        self._missed.clear()
        while self._worker is worker:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._missed.wait()
            if not worker.alive:
                self._lose(worker)
        await worker.close(0)
        if asyncio.get_running_loop().time() - begun > RESTART_MAX_S:
            return RESTART_FIRST_S
        if delay > RESTART_FIRST_S:
            await asyncio.sleep(delay)
        return min(RESTART_MAX_S, delay * 2)

    async def _start(self) -> bool:
        self._starts += 1
        suffix = f".{self._starts}" if self._starts > 1 else ""
        try:
            worker = await self._owner.start(self.name + suffix, self.pointer)
        except Exception as error:  # noqa: BLE001 - whatever it was may be gone at the next try
            self._down = True
            self._owner.changed()
            unknown = None if isinstance(error, LoadFailed) else error
            _log.warning("%s: could not be started: %s", self.name, error, exc_info=unknown)
            return False
        self._take(worker)
        return True
