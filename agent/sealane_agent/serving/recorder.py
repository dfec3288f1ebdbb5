"""Records what requests came to, in windows: per slot, release and arm.

A request costs an append; numbers are folded together many at a time, and when a window closes.
Windows close on the clock: every minute, and every ten seconds while a slot is in probation.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

import numpy as np
from sealane.telemetry.types import (
    Arm,
    ErrorKind,
    HostWindow,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)

from sealane_agent.serving.folding import Answers, Spread, class_output
from sealane_agent.serving.inputs import inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment
    from sealane.clock import Clock
    from sealane.names import SlotName

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.folding import ClassOutput
    from sealane_agent.serving.inputs import Input
    from sealane_agent.serving.sampler import Sampler, Sampling
    from sealane_agent.serving.types import Inference, Tensor

WINDOW_S: Final = 60
"""A window's length."""

PROBATION_S: Final = 10
"""A window's length while a slot is in probation: the gate sees soon what a new release does."""

FOLD_REQUESTS: Final = 2048
"""Requests that wait to be folded: enough to share the cost, few enough to be done in between."""

FOLD_BYTES: Final = 256 * 1024
"""Bytes of answers that wait with them."""

WAIT_S: Final = 3600.0
"""No request waits for longer, whatever a worker says about when it took it."""

SAMPLE_S: Final = 1 / 16
"""Least time between two requests of a series whose inputs are counted."""

VALUES_PER_S: Final = 65_536
"""Values of inputs that are counted in a second: a third of a percent of one core."""


SAMPLED: Final = (Arm.ACTIVE, Arm.CANDIDATE)
"""The arms of whose requests samples are kept: those whose release the director named."""

COMPARED: Final = Arm.SHADOW
"""The arm of which samples are kept where it disagrees; the director named its release, too."""


@dataclass(frozen=True, slots=True)
class Key:
    """What one series counts."""

    slot: SlotName
    release: str
    arm: Arm


class Series:
    """One release in one slot and arm: what it did since the window was opened."""

    def __init__(
        self, key: Key, wake: Callable[[Series], None], sampling: Sampling | None = None
    ) -> None:
        self.key = key
        self._sampling = sampling
        self._sampler: Sampler | None = None
        self._doubter: Sampler | None = None
        self.waits = array("d")
        self._wake = wake
        self._deployment: Deployment | None = None
        self._output: ClassOutput | None = None
        self._seconds = array("d")
        self._rows: list[int] = []
        self._answers = bytearray()
        self._sample_at = inf
        self._counts = _Counts(None)

    def understand(self, deployment: Deployment) -> None:
        """Learn what the model takes and gives; until then requests are counted and timed."""
        if self._deployment is None:
            self._deployment = deployment
            self._output = class_output(deployment)
            self._counts.understand(deployment)
            self._sample_at = 0.0 if self._counts.inputs else inf
            if self._sampling is not None and self.key.arm in SAMPLED:
                self._sampler = self._sampling.of(self.key.slot, self.key.release, deployment)
            if self._sampling is not None and self.key.arm is COMPARED:
                self._doubter = self._sampling.of(self.key.slot, self.key.release, deployment)

    def answer(
        self, now: float, seconds: float, inference: Inference, tensors: tuple[Tensor, ...]
    ) -> None:
        """Count one request that was answered now, so many seconds after it came.

        This runs for every request, so it appends and leaves the rest to `fold`; to arrays of
        numbers and bytes, because objects that are kept make those that come after them slower.
        """
        waiting, inputs = self._seconds, inference.inputs
        if not waiting:
            self._wake(self)
        waiting.append(seconds)
        if inputs and inputs[0].shape and inputs[0].shape[0] != 1:
            self._rows.append(inputs[0].shape[0])
        output = self._output
        if output is not None:
            at = output.at
            if at < len(tensors) and tensors[at].name == output.name:
                self._answers += tensors[at].data
            else:
                self._answers += _named(output.name, tensors)
        if now >= self._sample_at:
            values = self._counts.sample(inference)
            self._sample_at = now + max(SAMPLE_S, values / VALUES_PER_S)
        if self._sampler is not None:
            self._sampler.answered(now, inference, tensors)
        if len(waiting) >= FOLD_REQUESTS or len(self._answers) > FOLD_BYTES:
            self.fold()

    def fail(self, kind: ErrorKind, inference: Inference, *, fallback: bool = False) -> None:
        """Count one request that this release did not answer; `fallback`: the previous one did."""
        self._wake(self)
        if self._sampler is not None:
            self._sampler.failed(kind, inference)
        self._counts.requests += 1
        self._counts.fallbacks += fallback
        self._counts.count_error(kind)

    def stumble(self, kind: ErrorKind) -> None:
        """Count an error on the way to an answer that is counted by itself."""
        self._wake(self)
        self._counts.count_error(kind)

    def compare(self, *, agreed: bool) -> None:
        """Count one answer that was compared with that of the release before."""
        self._wake(self)
        self._counts.compared += 1
        self._counts.disagreed += not agreed

    def doubt(self, inference: Inference, tensors: tuple[Tensor, ...]) -> None:
        """Hear of a copy that was answered otherwise than by the release before."""
        if self._doubter is not None:
            self._doubter.disagreed(inference, tensors)

    def fold(self) -> None:
        """Count everything that waits."""
        seconds, self._seconds = self._seconds, array("d")
        answers, self._answers = self._answers, bytearray()
        self._counts.add(np.frombuffer(seconds), self._rows, answers)
        self._rows.clear()
        self._counts.add_waits(np.array(self.waits))
        del self.waits[:]

    def take(self) -> ModelWindow:
        """Everything since the last time."""
        self.fold()
        counts, self._counts = self._counts, _Counts(self._deployment)
        return ModelWindow(
            slot=self.key.slot,
            release=self.key.release,
            arm=self.key.arm,
            requests=counts.requests,
            errors=counts.errors,
            fallbacks=counts.fallbacks,
            timings=Timings(counts.latency.read(), counts.queue.read(), counts.rows.read()),
            predictions=replace(
                counts.answers.read() if counts.answers else Predictions(),
                compared=counts.compared,
                disagreed=counts.disagreed,
            ),
            inputs={
                name: counter.read()
                for item in counts.inputs
                for name, counter in item.counters.items()
            },
        )


class _Counts:
    """What a series counted in one window."""

    def __init__(self, deployment: Deployment | None) -> None:
        self.requests = self.fallbacks = self.compared = self.disagreed = 0
        self.errors: dict[ErrorKind, int] = {}
        self.latency, self.queue, self.rows = Spread(), Spread(), Spread()
        self.answers: Answers | None = None
        self.inputs: tuple[Input, ...] = ()
        if deployment is not None:
            self.understand(deployment)

    def understand(self, deployment: Deployment) -> None:
        output = class_output(deployment)
        self.answers = Answers(output) if output else None
        self.inputs = inputs_of(deployment)

    def count_error(self, kind: ErrorKind) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def sample(self, inference: Inference) -> int:
        """Keep some values of a request's inputs; how many."""
        given = {tensor.name: tensor for tensor in inference.inputs}
        return sum(item.sample(given[item.name]) for item in self.inputs if item.name in given)

    def add(self, seconds: NDArray[np.float64], rows: list[int], answers: bytearray) -> None:
        if len(seconds):
            self.requests += len(seconds)
            self.latency.add(seconds * 1e6)
            self.rows.add(np.array(rows, np.float64))
            self.rows.add_ones(len(seconds) - len(rows))
        if self.answers is not None and answers:
            self.answers.add(answers)

    def add_waits(self, seconds: NDArray[np.float64]) -> None:
        if len(seconds):
            self.queue.add(np.clip(seconds, 0.0, WAIT_S) * 1e6)


def _named(name: str, tensors: tuple[Tensor, ...]) -> bytes | memoryview:
    """The data of one of these; empty when the client did not ask for it."""
    return next((tensor.data for tensor in tensors if tensor.name == name), b"")


class Recorder:
    """Every series of this endpoint, and the window that is open."""

    def __init__(
        self, clock: Clock, closed: Callable[[Window], None], sampling: Sampling | None = None
    ) -> None:
        self._clock, self._closed, self._sampling = clock, closed, sampling
        self._known: WeakValueDictionary[Key, Series] = WeakValueDictionary()
        self._awake: dict[Key, Series] = {}
        self._probation: set[str] = set()
        self._restarts = 0
        self._start = 0
        self._opened = self._until = 0.0
        self._open()

    def series(self, slot: SlotName, pointer: Pointer, arm: Arm) -> Series:
        """Where the requests of this release in this slot and arm are counted."""
        key = Key(slot, str(pointer.release), arm)
        found = self._known.get(key) or Series(key, self._wake, self._sampling)
        self._known[key] = found
        return found

    def pace(self, slot: SlotName, *, probation: bool) -> None:
        """Hear that a slot begins or ends its probation."""
        (self._probation.add if probation else self._probation.discard)(slot)
        self._until = min(self._until, self._next_end())

    def count_restart(self) -> None:
        """Count a worker that was lost and is started again."""
        self._restarts += 1

    @property
    def remaining_s(self) -> float:
        """Seconds until the open window closes."""
        return max(0.0, self._until - self._clock.monotonic())

    def close(self) -> None:
        """Close the open window and open the next; one in which nothing happened is let go."""
        models = [series.take() for series in self._awake.values()]
        seconds = max(1, round(self._clock.monotonic() - self._opened))
        if models or self._restarts:
            window = Window(
                start=self._start,
                seconds=seconds,
                models=tuple(sorted(models, key=lambda model: model.key)),
                host=HostWindow(restarts=self._restarts) if self._restarts else None,
            )
            self._closed(window)
        self._awake.clear()
        self._restarts = 0
        self._open()

    def _open(self) -> None:
        self._start = int(self._clock.now().timestamp())
        self._opened = self._clock.monotonic()
        self._until = self._next_end()

    def _next_end(self) -> float:
        step = PROBATION_S if self._probation else WINDOW_S
        into: float = self._clock.now().timestamp() % step
        return self._clock.monotonic() + step - into

    def _wake(self, series: Series) -> None:
        self._awake[series.key] = series
