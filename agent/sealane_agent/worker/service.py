"""The worker's life: load, prove, tell the endpoint, then answer one request after the other."""

from __future__ import annotations

import os
import select
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sealane.bundle.elements import bytes_of

from sealane_agent.runtimes.base import AcceleratorFailed
from sealane_agent.serving.bodies import readable
from sealane_agent.serving.ring import Ring
from sealane_agent.serving.ring_frames import (
    DamagedFrame,
    Frame,
    FrameTooLarge,
    Kind,
    Piece,
    is_wanted,
    lay_out,
    read_frame,
    read_table,
    table_bytes,
    write_frame,
    write_laid_out,
)
from sealane_agent.serving.spinning import Spin
from sealane_agent.serving.types import LoadFailed
from sealane_agent.worker.arrays import (
    divisible,
    has_texts,
    rows_of,
    to_array,
    to_piece,
)
from sealane_agent.worker.binding import Binder
from sealane_agent.worker.hands import WORTH_US as ONE_HAND_US
from sealane_agent.worker.host import usable_processors
from sealane_agent.worker.load import load
from sealane_agent.worker.orders import Order, encode_answer
from sealane_agent.worker.watch import WORTH_US, Watch

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from sealane.bundle.types import Deployment

    from sealane_agent.runtimes.base import Model
    from sealane_agent.serving.ring_frames import Layout
    from sealane_agent.worker.binding import Bound
    from sealane_agent.worker.load import Loaded
    from sealane_agent.worker.priority import Priority

    Seen = tuple[Mapping[str, NDArray[Any]], tuple[int, ...]]

SEEN: Final = 1024
"""Tables of requests that are remembered, each with its slot."""

_MESSAGE_CHARS: Final = 300


def run(order: Order, control: socket.socket, priority: Priority) -> int:
    """Serve until the endpoint closes its end; the exit status."""
    try:
        loaded = load(order, priority)
    except LoadFailed as failed:
        control.send(encode_answer(failed.failure))
        return 1
    ring, bodies = Ring.attach(order.ring), readable(order.bodies)
    control.send(encode_answer(loaded.evidence))
    _Service(loaded, ring, bodies, control).serve()
    return 0


class _Service:
    """Takes requests from the ring, one with each hand; a single hand may take several at once.

    A hand is a thread. Who holds `_front` waits for the next request, the others compute or stand
    behind: so a request goes straight to the thread that computes it.
    """

    def __init__(
        self, loaded: Loaded, ring: Ring, bodies: memoryview, control: socket.socket
    ) -> None:
        self._ring = ring
        self._responders = [Responder(model, loaded.deployment, bodies) for model in loaded.models]
        if loaded.evidence.latency_us < ONE_HAND_US:
            self._responders[0].bind_to_slots()
        self._batch_rows = loaded.deployment.batch_rows if divisible(loaded.deployment) else 0
        self._front, self._back = threading.Lock(), threading.Lock()
        processors = usable_processors() if len(loaded.models) == 1 else 1
        self._spin = Spin(processors)
        self._watch = None
        self._poll = select.poll()
        self._poll.register(ring.handles.worker_bell, select.POLLIN)
        self._control = control.fileno()
        if loaded.evidence.latency_us >= WORTH_US:
            self._watch = Watch(control, ring, loaded.models)
            self._watch.start()
        else:
            self._poll.register(control, select.POLLIN)

    def serve(self) -> None:
        """Until the endpoint closes its end."""
        hands = range(len(self._responders))
        self._ring.open_hands(len(hands))
        for hand in hands[1:]:
            threading.Thread(target=self._beside, args=(hand,), daemon=True).start()
        self._hand(0)

    def _beside(self, hand: int) -> None:
        """Whatever goes wrong ends the process, as in its first thread: the endpoint sees that."""
        try:
            self._hand(hand)
        except BaseException:  # noqa: BLE001 - nothing is swallowed: the process ends
            traceback.print_exc()
            os._exit(1)

    def _hand(self, hand: int) -> None:
        while True:
            with self._front:
                number = self._next()
            if number is None:
                return
            if self._batch_rows:
                self._work_together(number)
            else:
                self._work(hand, number)

    def _next(self) -> int | None:
        """The next request, waited for; None at the end."""
        requests, spin = self._ring.requests, self._spin
        while True:
            number = requests.take()
            if number is not None:
                return number
            if spin.limit_s and requests.look(spin):
                continue
            begun = time.perf_counter()
            if requests.sleep():
                if self._left():
                    return None
                woken_s = requests.woken_s()
                requests.silence()
                spin.slept(time.perf_counter() - begun, woken_s)

    def _left(self) -> bool:
        """Wait for the bell; whether it rang for the end."""
        rung = self._poll.poll()
        if self._watch is not None:
            return self._watch.left
        return any(descriptor == self._control for descriptor, _ in rung)

    def _work(self, hand: int, number: int) -> None:
        ring, watch = self._ring, self._watch
        ring.begin_work(number, hand)
        if watch is not None:
            watch.begin(hand, number)
        self._responders[hand].respond(number, ring.slot(number))
        if watch is not None:
            watch.begin(hand, None)
        ring.end_work(hand)
        with self._back:
            ring.answers.put(number)

    def _work_together(self, first: int) -> None:
        """With what waits now, never waiting for more."""
        ring, numbers = self._ring, [first]
        ring.begin_work(first)
        while len(numbers) < self._batch_rows and (number := ring.requests.take()) is not None:
            ring.take_along(number)
            numbers.append(number)
        slots = [(number, ring.slot(number)) for number in numbers]
        for number in self._responders[0].respond_together(slots, self._batch_rows):
            ring.answers.put(number)
        ring.end_work()


class Responder:
    """Answers the request in a slot, in the same slot; raises only when the accelerator is lost.

    Requests repeat themselves: what was laid over a slot's bytes stays good for the next request
    with the same table in the same slot.
    """

    def __init__(
        self, model: Model, deployment: Deployment, bodies: memoryview | None = None
    ) -> None:
        self._model = model
        self._bodies = bodies
        self._inputs = deployment.inputs
        self._texts_in, self._texts_out = map(has_texts, (deployment.inputs, deployment.outputs))
        self._outputs = deployment.outputs
        self._all = tuple(range(len(self._outputs)))
        self._seen: dict[tuple[int, bytes], Seen] = {}
        self._table_bytes = 0
        self._layouts: dict[Any, Layout] = {}
        self._binder: Binder | None = None
        self._bound: dict[tuple[int, bytes], Bound | None] = {}

    def bind_to_slots(self) -> None:
        """Bind the engine to requests that repeat themselves; they cannot be stopped then."""
        self._binder = None if self._texts_out else Binder(self._model)

    def respond(self, number: int, slot: memoryview) -> None:
        """Answer, say why not, or skip what nobody waits for any longer."""
        if not is_wanted(slot, time.monotonic_ns()):
            write_frame(slot, Frame(Kind.SKIPPED, ()))
            return
        try:
            self._answer(number, slot)
        except (DamagedFrame, AcceleratorFailed):
            raise  # it is lost for this process: who restarts it, or stands in, can answer
        except FrameTooLarge as error:
            write_frame(slot, _failed(f"the answer takes {error.needed} bytes of {error.room}"))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises fails one request only
            write_frame(slot, _failed(str(error) or type(error).__name__))

    def respond_together(
        self, slots: Sequence[tuple[int, memoryview]], most_rows: int
    ) -> Iterator[int]:
        """Answer requests of one form in as few calls as the rows allow; numbers as they finish."""
        waiting = list(slots)
        while waiting:
            group = self._group(waiting, most_rows)
            waiting = waiting[len(group) :]
            if len(group) == 1 or not self._answer_group(group):
                for number, slot in group:
                    self.respond(number, slot)
                    yield number
            else:
                yield from (number for number, _ in group)

    def _group(
        self, waiting: Sequence[tuple[int, memoryview]], most_rows: int
    ) -> Sequence[tuple[int, memoryview]]:
        """The first of them that may go into one call: alike but for their rows."""
        rows, forms = 0, set()
        for count, (number, slot) in enumerate(waiting):
            try:
                tensors, chosen = self._seen_or_read(number, slot)
            except (DamagedFrame, LookupError, ValueError):
                return waiting[: max(1, count)]
            forms.add((chosen, *((name, array.shape[1:]) for name, array in tensors.items())))
            rows += rows_of(tensors)
            if count and (len(forms) > 1 or rows > most_rows or not is_wanted(slot)):
                return waiting[:count]
        return waiting

    def _answer_group(self, group: Sequence[tuple[int, memoryview]]) -> bool:
        """False when the engine refuses them together: then each one hears for itself."""
        try:
            asked = [self._seen_or_read(number, slot) for number, slot in group]
            together = {
                name: np.concatenate([tensors[name] for tensors, _ in asked])
                for name in asked[0][0]
            }
            answer = self._model.infer(together)
            at = 0
            for (_, slot), (tensors, chosen) in zip(group, asked, strict=True):
                stop = at + rows_of(tensors)
                part = {name: array[at:stop] for name, array in answer.items()}
                self._write(slot, part, chosen)
                at = stop
        except AcceleratorFailed:
            raise
        except Exception:  # noqa: BLE001 - whatever an engine raises: they are asked one by one
            return False
        return True

    def _answer(self, number: int, slot: memoryview) -> None:
        key = number, read_table(slot, self._table_bytes)
        bound = self._bound.get(key)
        if bound is not None and bound.answer(slot):
            return
        seen = self._seen.get(key)
        tensors, chosen = seen or self._look(number, slot)
        answer = self._model.infer(tensors)
        if seen is not None and self._binder is not None:
            self._bind(key, seen, answer)
        self._write(slot, answer, chosen)

    def _bind(self, key: tuple[int, bytes], seen: Seen, answer: Mapping[str, NDArray[Any]]) -> None:
        """Bind to a request that was seen before; never again to one whose answer came otherwise.

        Its tensors still lie in its slot, where the answer is going to be.
        """
        bound = None
        if self._binder is not None and key not in self._bound:
            tensors, chosen = seen
            names = [self._outputs[position].name for position in chosen]
            layout = self._layout(chosen, [answer[name] for name in names])
            bound = self._binder.bind(tensors, answer, names, layout)
        self._bound[key] = bound

    def _seen_or_read(self, number: int, slot: memoryview) -> Seen:
        seen = self._seen.get((number, read_table(slot, self._table_bytes)))
        return seen or self._look(number, slot)

    def _write(
        self, slot: memoryview, answer: Mapping[str, NDArray[Any]], chosen: tuple[int, ...]
    ) -> None:
        arrays = [answer[self._outputs[position].name] for position in chosen]
        if self._texts_out:
            write_frame(slot, Frame(Kind.ANSWER, self._pieces(chosen, arrays)))
            return
        layout = self._layout(chosen, arrays)
        write_laid_out(slot, layout, [bytes_of(array) for array in arrays])

    def _look(self, number: int, slot: memoryview) -> Seen:
        """Lay arrays over a request that is not known from before."""
        frame = read_frame(slot, self._bodies)
        specs = [self._inputs[piece.position] for piece in frame.pieces]
        tensors = {
            spec.name: to_array(spec, piece)
            for spec, piece in zip(specs, frame.pieces, strict=True)
        }
        chosen = frame.chosen or self._all
        if self._texts_in:
            return tensors, chosen
        self._table_bytes = table_bytes(frame)
        if len(self._seen) >= SEEN:
            self._seen.clear()
            self._bound.clear()
        self._seen[number, read_table(slot, self._table_bytes)] = tensors, chosen
        return tensors, chosen

    def _layout(self, chosen: tuple[int, ...], arrays: Sequence[NDArray[Any]]) -> Layout:
        key = (chosen, *[(array.shape, array.dtype.num) for array in arrays])
        return self._layouts.get(key) or self._lay_out(key, chosen, arrays)

    def _lay_out(self, key: Any, chosen: tuple[int, ...], arrays: Sequence[NDArray[Any]]) -> Layout:
        if len(self._layouts) >= SEEN:
            self._layouts.clear()
        self._layouts[key] = lay_out(Frame(Kind.ANSWER, self._pieces(chosen, arrays)))
        return self._layouts[key]

    def _pieces(self, chosen: tuple[int, ...], arrays: Sequence[NDArray[Any]]) -> tuple[Piece, ...]:
        return tuple(
            to_piece(position, self._outputs[position], array)
            for position, array in zip(chosen, arrays, strict=True)
        )


def _failed(message: str) -> Frame:
    text = message.encode()[:_MESSAGE_CHARS]
    return Frame(Kind.FAILED, (Piece(0, (len(text),), text),))
