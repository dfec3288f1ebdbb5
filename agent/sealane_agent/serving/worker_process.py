"""One worker process as the endpoint sees it: started and proven, asked, watched, ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from sealane.errors import BundleError
from sealane.failure import Failure, FailureKind

from sealane_agent.serving.exchange import Exchange
from sealane_agent.serving.footprint import Footprint
from sealane_agent.serving.geometry import geometry_for
from sealane_agent.serving.messages import Proved
from sealane_agent.serving.ring import Ring
from sealane_agent.serving.spinning import Spin
from sealane_agent.serving.types import LoadFailed, WorkerDied, WorkerHung, nothing
from sealane_agent.serving.worker_launch import Child, ended_early, launch
from sealane_agent.worker.contract import read_variant
from sealane_agent.worker.host import memory_bytes, usable_processors
from sealane_agent.worker.orders import (
    PACKET_BYTES,
    Evidence,
    Order,
    decode_answer,
    load_failed,
)
from sealane_agent.worker.orders import Answer as Word
from sealane_agent.worker.priority import Priority, own_nice

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from sealane.bundle.types import Deployment

    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.bodies import SlotBodies
    from sealane_agent.serving.footprints import Footprints
    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.totals import Totals
    from sealane_agent.serving.types import Answer, Inference, ServingError
    from sealane_agent.serving.worker_groups import Groups
    from sealane_agent.serving.worker_limits import Terms

INTERRUPT_US: Final = 5000
"""Shortest inference, in microseconds, that a worker is told to stop: its `watch.WORTH_US`."""

SPIN_US: Final = 60
"""Longest inference, in microseconds, whose answer the endpoint may look for, not sleep."""

LEAVE_S: Final = 2.0
"""What a worker gets to end by itself before it is killed."""


class WorkerProcess:
    """Implements `types.Worker`; made by `start`. What each request asks of it are attributes.

    Attributes:
        name: unique while the endpoint runs.
        pointer: which variant of which bundle it runs.
        deployment: the bundle's contract.
        proved: what the proof measured.
        alive: whether the process runs.
        broke: the limit that it broke, as a sentence; empty while it runs, and when it broke none.
        degraded: why it stands in for another variant; set by who decided that.
    """

    def __init__(
        self,
        load: Load,
        proved: Proved,
        deployment: Deployment,
        parts: tuple[Child, Ring, Workplace],
    ) -> None:
        self.name, self.pointer = proved.worker, load.pointer
        self.deployment, self.proved = deployment, proved
        self.alive, self.broke = True, ""
        self._child, ring, place = parts
        self._groups = place.groups
        self.degraded = ""
        self.peak_bytes = 0
        self._ended = asyncio.Event()
        self._priority = Priority(self._child.pid, own_nice())
        if not load.awaited:
            self._priority.lower()
        spin = Spin(usable_processors()) if proved.latency_us < SPIN_US else None
        self._exchange = Exchange(ring, deployment, self._stuck, spin)
        self._exchange.bodies = place.bodies.of(load.slot)
        if proved.latency_us >= INTERRUPT_US:
            self._exchange.interrupt = self._interrupt
        asyncio.get_running_loop().add_reader(self._child.pidfd, self._on_end)

    @classmethod
    async def start(cls, name: str, load: Load, place: Workplace) -> WorkerProcess:
        """Start, load, warm up and prove within the load's deadline; raises LoadFailed."""
        begun = time.monotonic()
        view = place.folder.view(load.pointer.manifest)
        deployment, variant = await asyncio.to_thread(read_variant, view, load.pointer.variant)
        ring = _make_ring(deployment, load.slot, place.bodies)
        # What a card's driver maps into the process is more than any bundle foresees.
        expected = variant.memory_bytes if variant.accelerator == "cpu" else 0
        limits = place.terms.while_loading(expected, load.at_most)
        try:
            shared = (ring.handles, place.bodies.of(load.slot).descriptor)
            order = Order(view, variant.name, *shared, not load.awaited, load.bar)
            child = _launch(name, order, lambda process: place.groups.enter(name, process, limits))
            evidence = await _await_proof(child, load, lambda: place.groups.leave(name))
        except BaseException:
            ring.close()
            place.groups.leave(name)
            raise
        taken = round((time.monotonic() - begun) * 1000)
        told = asdict(evidence)
        footprint = Footprint(told.pop("peak_bytes"), evidence.memory_bytes, taken)
        proved = Proved(worker=name, load_ms=taken, **told)
        # What was given up has not taken yet what it would.
        if not proved.given_up:
            place.footprints.note(load.pointer, variant, footprint)
            asyncio.get_running_loop().run_in_executor(None, place.footprints.keep)
        limits = place.terms.once_proved(proved.memory_bytes, deployment.probation)
        place.groups.limit(name, limits)
        worker = cls(load, proved, deployment, (child, ring, place))
        worker.peak_bytes = footprint.peak
        return worker

    @property
    def held_bytes(self) -> int:
        """Proportional set size; 0 when the process is gone."""
        with contextlib.suppress(OSError):
            return memory_bytes(self._child.pid)
        return 0

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def begin(
        self, inference: Inference, timeout_s: float, done: Callable[[Answer | ServingError], None]
    ) -> Callable[[], None]:
        """Answer one request, as `types.Worker.begin` says."""
        if not self.alive:
            done(self._died())
            return nothing
        return self._exchange.begin(inference, timeout_s, done)

    def stand_by(self, *, stands_by: bool) -> None:
        """Let others go first on the processors, or no longer."""
        if not stands_by:
            self._priority.restore()
        elif not self._priority.is_low:
            self._priority.lower()

    def record_times(self, totals: Totals, waits: array[float] | None) -> None:
        """Add there what requests waited and took; append each one's wait to `waits`."""
        self._exchange.totals, self._exchange.waits = totals, waits

    async def close(self, drain_s: float) -> None:
        """Answer what is inside, at most for so long, then end the process."""
        if not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exchange.drained(), drain_s)
            self._child.hang_up()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), LEAVE_S)
        if not self._ended.is_set():
            self._child.kill()
            await self._ended.wait()

    def _interrupt(self, slot: int) -> None:
        """Tell the worker that nobody waits for what it computes; it may have finished already."""
        with contextlib.suppress(OSError):
            self._child.control.send(str(slot).encode())

    def _stuck(self, why: str) -> None:
        if not self.alive:
            return
        self.alive = False
        self._child.kill()
        self._exchange.fail_all(lambda: WorkerHung(f"worker {self.name} {why}"))

    def _on_end(self) -> None:
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._child.pidfd)
        self._child.reap()
        self.broke = self._groups.leave(self.name)
        self._exchange.fail_all(self._died)
        self._exchange.close()
        self._ended.set()

    def _died(self) -> ServingError:
        return WorkerDied(f"worker {self.name} ended before it answered")


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where workers begin: the agent's folder, their groups, and what their limits follow from.

    Attributes:
        footprints: what they took is kept there.
        bodies: memory in which they may read what their slot is asked.
    """

    folder: StateFolder
    groups: Groups
    terms: Terms
    footprints: Footprints
    bodies: SlotBodies


def _make_ring(deployment: Deployment, slot: str, bodies: SlotBodies) -> Ring:
    try:
        bodies.open(slot)
        return Ring.create(geometry_for(deployment))
    except BundleError as error:
        raise load_failed(FailureKind.PERMANENT, "endpoint", deployment.model, error) from error
    except OSError as error:
        raise load_failed(FailureKind.ENVIRONMENTAL, "endpoint", "memory", error) from error


def _launch(name: str, order: Order, begun: Callable[[int], None]) -> Child:
    try:
        return launch(name, order, begun)
    except OSError as error:
        raise load_failed(FailureKind.ENVIRONMENTAL, "endpoint", "worker", error) from error


async def _await_proof(child: Child, load: Load, leave: Callable[[], str]) -> Evidence:
    """The worker's evidence; without it the process is ended and LoadFailed raised.

    `leave` says which limit a process broke that has ended.
    """
    variant = load.pointer.variant
    try:
        async with asyncio.timeout(load.deadline_s):
            answer = await _hear(child)
    except TimeoutError as error:
        _end(child)
        late = TimeoutError(f"loading took more than {load.deadline_s:g} seconds")
        raise load_failed(FailureKind.TRANSIENT, "runtime", variant, late) from error
    except BaseException:
        _end(child)
        raise
    if answer is None:
        status = await asyncio.to_thread(child.reap)
        raise LoadFailed(ended_early(variant, status, leave()))
    if isinstance(answer, Failure):
        _end(child)
        raise LoadFailed(answer)
    return answer


async def _hear(child: Child) -> Word | None:
    """What the worker tells; None when it ended without a word."""
    loop = asyncio.get_running_loop()
    try:
        packet = await loop.sock_recv(child.control, PACKET_BYTES)
    except ConnectionError:
        return None
    return decode_answer(packet) if packet else None


def _end(child: Child) -> None:
    child.kill()
    child.reap()
