"""The worker's life: load, prove, tell the endpoint, then answer one request after the other."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Final

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
from sealane_agent.serving.types import LoadFailed
from sealane_agent.worker.arrays import bytes_of, to_array, to_piece
from sealane_agent.worker.load import load
from sealane_agent.worker.orders import Order, encode_answer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sealane_agent.serving.ring_frames import Layout
    from sealane_agent.worker.load import Loaded

    Seen = tuple[Mapping[str, NDArray[Any]], tuple[int, ...]]

SEEN: Final = 1024
"""Tables of requests that are remembered, each with its slot."""

_MESSAGE_CHARS: Final = 300


def run(order: Order, control: socket.socket) -> int:
    """Serve until the endpoint closes its end; the exit status."""
    try:
        loaded = load(order)
    except LoadFailed as failed:
        control.send(encode_answer(failed.failure))
        return 1
    ring = Ring.attach(order.ring)
    control.send(encode_answer(loaded.evidence))
    _serve(Responder(loaded), ring, control)
    return 0


def _serve(responder: Responder, ring: Ring, control: socket.socket) -> None:
    poll = select.poll()
    poll.register(ring.handles.worker_bell, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        number = ring.requests.take()
        if number is not None:
            ring.begin_work(number)
            responder.respond(number, ring.slot(number))
            ring.end_work()
            ring.answers.put(number)
        elif ring.requests.sleep():
            if any(descriptor == control.fileno() for descriptor, _ in poll.poll()):
                return
            ring.requests.silence()


class Responder:
    """Answers the request in a slot, in the same slot; never raises for what an engine does.

    Requests repeat themselves: what was laid over a slot's bytes stays good for the next request
    with the same table in the same slot.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._inputs = loaded.deployment.inputs
        self._outputs = loaded.deployment.outputs
        self._all = tuple(range(len(self._outputs)))
        self._seen: dict[tuple[int, bytes], Seen] = {}
        self._table_bytes = 0
        self._layouts: dict[Any, Layout] = {}

    def respond(self, number: int, slot: memoryview) -> None:
        """Answer, say why not, or skip what nobody waits for any longer."""
        if not is_wanted(slot):
            write_frame(slot, Frame(Kind.SKIPPED, ()))
            return
        try:
            self._answer(number, slot)
        except DamagedFrame:
            raise
        except FrameTooLarge as error:
            write_frame(slot, _failed(f"the answer takes {error.needed} bytes of {error.room}"))
        except Exception as error:  # noqa: BLE001 - whatever an engine raises fails one request only
            write_frame(slot, _failed(str(error) or type(error).__name__))

    def _answer(self, number: int, slot: memoryview) -> None:
        seen = self._seen.get((number, read_table(slot, self._table_bytes)))
        tensors, chosen = seen or self._look(number, slot)
        answer = self._model.infer(tensors)
        arrays = [answer[self._outputs[position].name] for position in chosen]
        key = (chosen, *[(array.shape, array.dtype.num) for array in arrays])
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._lay_out(key, chosen, arrays)
        write_laid_out(slot, layout, map(bytes_of, arrays))

    def _look(self, number: int, slot: memoryview) -> Seen:
        """Lay arrays over a request that is not known from before."""
        frame = read_frame(slot)
        specs = [self._inputs[piece.position] for piece in frame.pieces]
        tensors = {
            spec.name: to_array(spec, piece)
            for spec, piece in zip(specs, frame.pieces, strict=True)
        }
        chosen = frame.chosen or self._all
        self._table_bytes = table_bytes(frame)
        if len(self._seen) >= SEEN:
            self._seen.clear()
        self._seen[number, read_table(slot, self._table_bytes)] = tensors, chosen
        return tensors, chosen

    def _lay_out(self, key: Any, chosen: tuple[int, ...], arrays: Sequence[NDArray[Any]]) -> Layout:
        pieces = tuple(
            to_piece(position, self._outputs[position], array)
            for position, array in zip(chosen, arrays, strict=True)
        )
        if len(self._layouts) >= SEEN:
            self._layouts.clear()
        self._layouts[key] = lay_out(Frame(Kind.ANSWER, pieces))
        return self._layouts[key]


def _failed(message: str) -> Frame:
    text = message.encode()[:_MESSAGE_CHARS]
    return Frame(Kind.FAILED, (Piece(0, (len(text),), text),))
