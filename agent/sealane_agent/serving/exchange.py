"""Carries requests through a worker's ring on the endpoint's loop.

A request takes a free slot or waits in line for one; the first to wait is the first to get one. A
slot belongs to its request until the worker gives it back, also when nobody waits for the answer
any longer: so an abandoned request can never lose a slot, and never give it to two.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from itertools import zip_longest
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple

from sealane_agent.serving.bodies import WORTH_BYTES
from sealane_agent.serving.lanes import Lanes
from sealane_agent.serving.patience import is_stuck, out_of_time, stood_still, worked_on
from sealane_agent.serving.ring import RingDamaged
from sealane_agent.serving.ring_frames import (
    DamagedFrame,
    Frame,
    FrameTooLarge,
    Kind,
    Piece,
    lay_out,
    read_frame,
    read_table,
    table_bytes,
    unset_wanted,
    write_request,
)
from sealane_agent.serving.spinning import Spin
from sealane_agent.serving.totals import Totals
from sealane_agent.serving.types import (
    Expired,
    InvalidInference,
    ModelFailed,
    Overloaded,
    Tensor,
    nothing,
)

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from sealane.bundle.types import DataType, Deployment

    from sealane_agent.serving.bodies import Bodies
    from sealane_agent.serving.ring import Ring
    from sealane_agent.serving.ring_frames import Layout
    from sealane_agent.serving.types import Answer, Inference, ServingError

    Done = Callable[[Answer | ServingError], None]

WAITING: Final = 256
"""Requests that wait for a slot; one more is told to come back later."""

KNOWN: Final = 64
"""Tables of answers that are remembered, and of requests of one form in the memory of bodies."""

TICK_S: Final = 0.05
"""How often timeouts are looked at while something is inside."""

CROWD_S: Final = 30e-6
"""Between an answer and the next request: less than the one client needs to ask again."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    """One request on its way; `slot` is None while it waits in line, `done` once it was called."""

    layout: Layout
    inference: Inference
    done: Done | None
    timeout_s: float
    since_s: float
    arrived_s: float
    slot: int | None = None

    def finish(self, answer: Answer | ServingError) -> None:
        """Hand over what it came to, unless it was taken back."""
        done, self.done = self.done, None
        if done is None:
            return
        try:
            done(answer)
        except Exception:  # noqa: BLE001 - whatever happens to one, the others get theirs
            _log.exception("an answer could not be handed over")


def _say_nothing(_why: str) -> None:
    """Nobody listens any longer."""


def _expired() -> Expired:
    return Expired("the answer was not there by the request's deadline", hint="give it more time")


class _Known(NamedTuple):
    """One tensor of answers whose table was read before."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    start: int
    stop: int


class Exchange:
    """The endpoint's side of one ring.

    `spin`: whether to look for an answer before sleeping; without one this side always sleeps.
    `stuck` is called when the worker made no progress on a request for that request's time, or
    broke the ring's rules; it must end the worker and then call `fail_all`.
    """

    def __init__(
        self,
        ring: Ring,
        deployment: Deployment,
        stuck: Callable[[str], None],
        spin: Spin | None = None,
    ) -> None:
        self._ring = ring
        self._deployment = deployment
        self._stuck = stuck
        self._inputs = {spec.name: place for place, spec in enumerate(deployment.inputs)}
        self._outputs = {spec.name: place for place, spec in enumerate(deployment.outputs)}
        self._free = list(range(ring.geometry.slots))
        self._inside: dict[int, _Request] = {}
        self._line: Lanes[_Request] = Lanes()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._tick: asyncio.TimerHandle | None = None
        self._tick_due_s = 0.0
        self._broken = self._waking = self._closed = False
        self._known: dict[bytes, tuple[_Known, ...]] = {}
        self._table_bytes = 0
        self._spin = spin or Spin(1)
        self._looked_s = self._waited_s = 0.0
        self.totals = Totals()
        self.waits: array[float] | None = None
        self.interrupt: Callable[[int], None] | None = None
        self.bodies: Bodies | None = None
        self._loop.add_reader(ring.handles.endpoint_bell, self._rung)
        self._collect()

    def begin(self, inference: Inference, timeout_s: float, done: Done) -> Callable[[], None]:
        """Answer one request, as `types.Worker.begin` says."""
        try:
            layout = self._layout(inference)
        except InvalidInference as error:
            done(error)
            return nothing
        waiting = len(self._line)
        if waiting >= WAITING:
            done(Overloaded(f"{WAITING} requests wait for this model", hint="come back later"))
            return nothing
        now = time.monotonic()
        terms = inference.terms
        if terms.deadline_s <= now:
            done(_expired())
            return nothing
        request = _Request(layout, inference, done, timeout_s, now, now)
        if self._free and not waiting:
            self._submit(request, self._free.pop(), now)
        else:
            self._line.put(request, terms.priority)
            self._advance()
        if len(self._inside) == 1:
            self._note_inside()
            if self._spin.limit_s:
                self._look_for_it(now)
        return lambda: self._forget(request)

    def _look_for_it(self, now_s: float) -> None:
        """The only request inside: its answer is expected before a bell could wake this side.

        Who asks again at once is somebody else: while several ask, this side has better to do.
        """
        if now_s - self._looked_s < CROWD_S:
            self._spin.put_aside()
            return
        self._ring.answers.look(self._spin)
        self._collect()
        self._looked_s = time.monotonic()

    def fail_all(self, error: Callable[[], ServingError]) -> None:
        """Collect what is answered already, then fail the rest."""
        self._take_answers()
        lost = (*self._inside.values(), *self._line)
        self._inside.clear()
        self._line.clear()
        self._idle.set()
        for request in lost:
            request.finish(error())

    async def drained(self) -> None:
        """Wait until nothing is inside."""
        await self._idle.wait()

    def close(self) -> None:
        """Let go of the ring; nothing may be inside."""
        if self._tick is not None:
            self._tick.cancel()
        self._loop.remove_reader(self._ring.handles.endpoint_bell)
        self._closed = True
        self._ring.close()
        # Both belong to the worker, which knows this exchange.
        self._stuck, self.interrupt = _say_nothing, None

    def _layout(self, inference: Inference) -> Layout:
        form = inference.form
        if form is None:
            return lay_out(self._frame(inference, self._bodies_of(inference)))
        if form.laid_out is not self._deployment:
            form.laid_out, form.layout = self._deployment, None
            form.elsewhere.clear()
            form.large = any(len(tensor.data) >= WORTH_BYTES for tensor in inference.inputs)
        bodies = self._bodies_of(inference) if form.large else ()
        layout = form.elsewhere.get(bodies) if bodies else form.layout
        if layout is not None:
            return layout
        layout = lay_out(self._frame(inference, bodies))
        if not bodies:
            form.layout = layout
        elif len(form.elsewhere) < KNOWN:
            form.elsewhere[bodies] = layout
        return layout

    def _bodies_of(self, inference: Inference) -> tuple[int | None, ...]:
        """Where each tensor lies in the memory of bodies; empty when none does."""
        shared = self.bodies
        if shared is None:
            return ()
        places = tuple([shared.place_of(tensor.data) for tensor in inference.inputs])
        return places if any(place is not None for place in places) else ()

    def _frame(self, inference: Inference, bodies: tuple[int | None, ...]) -> Frame:
        try:
            pieces = tuple(
                Piece(self._inputs[tensor.name], tensor.shape, tensor.data, body=body)
                for tensor, body in zip_longest(inference.inputs, bodies)
            )
            chosen = tuple(self._outputs[name] for name in inference.outputs)
        except KeyError as error:
            raise InvalidInference(f"the model has no tensor named {error}") from error
        return Frame(Kind.REQUEST, pieces, chosen)

    def _advance(self) -> None:
        """Give free slots to those who wait, in their order."""
        while self._line and self._free:
            request = self._line.pop()
            if request.done is not None:
                self._submit(request, self._free.pop(), time.monotonic())
        self._note_inside()

    def _note_inside(self) -> None:
        if self._inside:
            self._idle.clear()
            if self._tick is None:
                self._tick = self._loop.call_later(TICK_S, self._look)
                self._tick_due_s = time.monotonic() + TICK_S
        elif not self._line:
            self._idle.set()

    def _submit(self, request: _Request, number: int, now_s: float) -> None:
        inference = request.inference
        request.since_s = now_s
        deadline_s = inference.terms.deadline_s
        if deadline_s <= now_s:
            self._free.append(number)
            request.finish(_expired())
            return
        try:
            write_request(self._ring.slot(number), request.layout, inference.inputs, deadline_s)
        except FrameTooLarge as error:
            self._free.append(number)
            request.finish(
                InvalidInference(
                    f"the request takes {error.needed} bytes, this model serves {error.room}",
                    hint="send fewer rows at once",
                )
            )
            return
        request.slot = number
        self._inside[number] = request
        self._ring.requests.append(number)
        if len(self._inside) == 1:
            self._ring.requests.wake()
        elif not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        """One bell for all requests of a turn of the loop: being woken costs more than they do."""
        self._waking = False
        if not self._closed:
            self._ring.requests.wake()

    def _forget(self, request: _Request) -> None:
        """Nobody waits for it any longer: leave the line, or tell the worker."""
        request.done = None
        if request.slot is None:
            self._line.remove(request)
        elif self._inside.get(request.slot) is request:
            unset_wanted(self._ring.slot(request.slot))
            if self.interrupt is not None and any(
                hand.current == request.slot for hand in self._ring.progress()
            ):
                self.interrupt(request.slot)

    def _rung(self) -> None:
        woken_s = self._ring.answers.woken_s()
        self._ring.answers.silence()
        self._collect()
        self._spin.slept(self._waited_s, woken_s)

    def _collect(self) -> None:
        """Take every answer, and sleep only when there was none at the second look."""
        self._take_answers()
        while not self._broken and not self._ring.answers.sleep():
            self._take_answers()

    def _take_answers(self) -> None:
        try:
            while not self._broken and (numbers := self._ring.answers.take_all()):
                now_s = time.monotonic()
                for number in numbers:
                    self._settle(number, now_s)
        except (DamagedFrame, RingDamaged) as error:
            self._broken = True
            self._stuck(f"broke the rules of its ring: {error}")
            return
        self._advance()

    def _settle(self, number: int, now_s: float) -> None:
        request = self._inside.get(number)
        if request is None:
            raise RingDamaged(f"slot {number} was not inside")
        answer: Answer | ServingError | None = None
        if request.done is not None:
            # A frame that cannot be read leaves the request inside: it fails with all the others.
            answer = self._read(self._ring.slot(number), request)
            if isinstance(answer, tuple):
                self._record(number, request, now_s)
        del self._inside[number]
        self._free.append(number)
        if answer is not None:
            request.finish(answer)

    def _record(self, number: int, request: _Request, now_s: float) -> None:
        taken_s, totals = self._ring.taken_s(number), self.totals
        waited_s = taken_s - request.arrived_s
        totals.waited_s += waited_s
        totals.computed_s += now_s - taken_s
        self._waited_s = now_s - request.since_s
        totals.calls += 1
        if self.waits is not None:
            self.waits.append(waited_s)

    def _read(self, slot: memoryview, request: _Request) -> Answer | ServingError:
        known = self._known.get(read_table(slot, self._table_bytes))
        if known is None:
            return self._read_frame(slot, request)
        answer = []
        for name, datatype, shape, start, stop in known:
            answer.append(Tensor(name, datatype, shape, slot[start:stop].tobytes()))
        return tuple(answer)

    def _read_frame(self, slot: memoryview, request: _Request) -> Answer | ServingError:
        frame = read_frame(slot)
        if frame.kind is Kind.FAILED and frame.pieces:
            return ModelFailed(bytes(frame.pieces[0].data).decode(errors="replace"))
        if frame.kind is Kind.SKIPPED and request.inference.terms.deadline_s < inf:
            return _expired()  # the worker saw it before this side did
        if frame.kind is not Kind.ANSWER:
            raise DamagedFrame(f"{frame.kind.name} is no answer")
        answer = tuple(map(self._tensor, frame.pieces))
        self._remember(slot, frame, answer)
        return answer

    def _remember(self, slot: memoryview, frame: Frame, answer: Answer) -> None:
        """Most answers of a model have the same table; few different ones are kept."""
        self._table_bytes = table_bytes(frame)
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[read_table(slot, self._table_bytes)] = tuple(
            _Known(t.name, t.datatype, t.shape, piece.place, piece.place + len(piece.data))
            for t, piece in zip(answer, frame.pieces, strict=True)
        )

    def _tensor(self, piece: Piece) -> Tensor:
        if piece.position >= len(self._deployment.outputs):
            raise DamagedFrame(f"there is no output {piece.position}")
        spec = self._deployment.outputs[piece.position]
        return Tensor(spec.name, spec.datatype, piece.shape, bytes(piece.data))

    def _look(self) -> None:
        """Judge the worker by the request it works on; send those away who waited too long."""
        self._tick = None
        now = time.monotonic()
        if stood_still(self._tick_due_s, now):
            for request in [*self._inside.values(), *self._line]:
                request.since_s = now
        progress = self._ring.progress()
        if is_stuck(self._inside, progress, now):
            self._stuck("made no progress in time")
            return
        for request in [*self._inside.values(), *self._line]:
            if request.done is not None and request.inference.terms.deadline_s <= now:
                request.finish(_expired())
                self._forget(request)
        current = [request for request, _ in worked_on(self._inside, progress)]
        for request in out_of_time((*self._inside.values(), *self._line), current, now):
            self._send_away(request)
        self._advance()

    def _send_away(self, request: _Request) -> None:
        request.finish(
            Overloaded(
                f"others took the model for {request.timeout_s:g} seconds", hint="come back later"
            )
        )
