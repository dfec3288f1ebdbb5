"""Gives a standby copies of a slot's requests, and compares its answers with those that were given.

It costs the requests as little as can be: a copy waits until the slot's own worker has nothing
inside, goes alone, and then the standby rests for as long as it took. What finds no place in the
line is dropped and counted. Nothing that happens to a copy is told to anybody who asked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from sealane.telemetry.types import ErrorKind

from sealane_agent.serving.comparing import says_the_same
from sealane_agent.serving.messages import Shadowed
from sealane_agent.serving.results import KINDS, result_of
from sealane_agent.serving.types import Inference, ServingError, Terms, WorkerDied, WorkerHung

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.serving.place import Place
    from sealane_agent.serving.types import Answer

WAITING: Final = 16
"""Copies that wait; one more is dropped."""

WAITING_BYTES: Final = 32 * 1024 * 1024
"""Bytes of inputs and answers that wait with them."""

INLINE_BYTES: Final = 64 * 1024
"""Larger answers are compared beside the loop."""

_UNHURRIED: Final = Terms(priority=3)


@dataclass(frozen=True, slots=True)
class _Copy:
    inference: Inference
    answer: Answer
    size: int


class Shadow:
    """One standby that gets copies; `busy` says whether the slot's own worker has requests."""

    def __init__(self, place: Place, busy: Callable[[], bool]) -> None:
        self.place = place
        self._busy = busy
        self._counts = Shadowed(place.name)
        self._waiting: deque[_Copy] = deque()
        self._bytes = 0
        self._given: _Copy | None = None
        self._begun = 0.0
        self._take_back: Callable[[], None] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._comparing: asyncio.Task[None] | None = None

    def offer(self, inference: Inference, answer: Answer) -> None:
        """Hear of a request that was answered; its bytes are copied only when there is room."""
        size = sum(len(tensor.data) for tensor in (*inference.inputs, *answer))
        if len(self._waiting) >= WAITING or self._bytes + size > WAITING_BYTES:
            self._drop(inference)
        else:
            self._bytes += size
            self._waiting.append(_Copy(_kept(inference), _kept_answer(answer), size))
        # A full line too: its copies may have found the slot's worker busy at their last chance.
        self._advance()

    def count_loss(self) -> None:
        """Hear that the standby's worker is gone."""
        self._counts = replace(self._counts, lost=self._counts.lost + 1)

    def read(self) -> Shadowed:
        """What it came to until now."""
        return self._counts

    def close(self) -> None:
        """Ask nothing more; what is inside is forgotten."""
        self._waiting.clear()
        self._given = None
        if self._take_back is not None:
            self._take_back()
        for later in (self._resting, self._comparing):
            if later is not None:
                later.cancel()

    def _advance(self) -> None:
        if self._given is not None or self._resting is not None or not self._waiting:
            return
        if self._busy():
            return
        copy = self._waiting.popleft()
        self._bytes -= copy.size
        if not self.place.is_up:
            self._drop(copy.inference)
            return
        self._given, self._begun, self._take_back = copy, perf_counter(), None
        take_back = self.place.begin(copy.inference, partial(self._heard, copy))
        if self._given is copy:
            self._take_back = take_back

    def _heard(self, copy: _Copy, answer: Answer | ServingError) -> None:
        if self._given is not copy:
            return
        took, self._take_back = perf_counter() - self._begun, None
        if isinstance(answer, ServingError):
            self._failed(copy, answer)
            self._rest(took)
            return
        if self.place.series is not None:
            self.place.series.answer(perf_counter(), took, copy.inference, answer)
        if copy.size <= INLINE_BYTES:
            self._compared(copy, answer, same=self._same(copy, answer))
            self._rest(took)
        else:
            self._comparing = asyncio.create_task(self._compare_aside(copy, answer, took))

    async def _compare_aside(self, copy: _Copy, answer: Answer, took: float) -> None:
        same = await asyncio.to_thread(self._same, copy, answer)
        self._compared(copy, answer, same=same)
        self._rest(took)

    def _same(self, copy: _Copy, answer: Answer) -> bool:
        variant = self.place.variant
        try:
            return says_the_same(answer, copy.answer, self.place.deployment, variant)
        except ValueError:
            # Bytes that do not fit their own shape.
            return False

    def _compared(self, copy: _Copy, answer: Answer, *, same: bool) -> None:
        counts = self._counts
        self._counts = replace(
            counts,
            answered=counts.answered + 1,
            compared=counts.compared + 1,
            disagreed=counts.disagreed + (not same),
        )
        if self.place.series is not None:
            self.place.series.compare(agreed=same)
            if not same:
                self.place.series.doubt(copy.inference, answer)

    def _failed(self, copy: _Copy, error: ServingError) -> None:
        if not isinstance(error, WorkerDied | WorkerHung):
            self._counts = replace(self._counts, failed=self._counts.failed + 1)
        if self.place.series is not None:
            self.place.series.fail(KINDS[result_of(error)], copy.inference)

    def _drop(self, inference: Inference) -> None:
        self._counts = replace(self._counts, dropped=self._counts.dropped + 1)
        if self.place.series is not None:
            self.place.series.fail(ErrorKind.OVERLOADED, inference)

    def _rest(self, seconds: float) -> None:
        self._given = self._comparing = None
        self._resting = asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._advance()


def _kept(inference: Inference) -> Inference:
    """With bytes of its own, and as patient as can be."""
    inputs = _kept_answer(inference.inputs)
    return inference._replace(inputs=inputs, form=None, terms=_UNHURRIED)


def _kept_answer(tensors: Answer) -> Answer:
    return tuple(
        each if isinstance(each.data, bytes) else each._replace(data=bytes(each.data))
        for each in tensors
    )
