"""The worker's life: load, prove, tell the endpoint, then answer one request after the other."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from sealane_agent.serving.ring import Ring
from sealane_agent.serving.ring_frames import (
    DamagedFrame,
    Frame,
    FrameTooLarge,
    Kind,
    Piece,
    is_wanted,
    read_frame,
    write_frame,
)
from sealane_agent.serving.types import LoadFailed
from sealane_agent.worker.arrays import to_array, to_piece
from sealane_agent.worker.load import load
from sealane_agent.worker.orders import Order, encode_answer

if TYPE_CHECKING:
    import socket

    from sealane_agent.worker.load import Loaded

_MESSAGE_CHARS = 300


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
            responder.respond(ring.slot(number))
            ring.end_work()
            ring.answers.put(number)
        elif ring.requests.sleep():
            if any(descriptor == control.fileno() for descriptor, _ in poll.poll()):
                return
            ring.requests.silence()


class Responder:
    """Answers the request in a slot, in the same slot; never raises for what an engine does."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._inputs = loaded.deployment.inputs
        self._outputs = loaded.deployment.outputs
        self._all = tuple(range(len(self._outputs)))

    def respond(self, slot: memoryview) -> None:
        """Answer, say why not, or skip what nobody waits for any longer."""
        if not is_wanted(slot):
            write_frame(slot, Frame(Kind.SKIPPED, ()))
            return
        try:
            write_frame(slot, self._answer(slot))
        except FrameTooLarge as error:
            write_frame(slot, _failed(f"the answer takes {error.needed} bytes of {error.room}"))

    def _answer(self, slot: memoryview) -> Frame:
        try:
            request = read_frame(slot)
            return Frame(Kind.ANSWER, self._infer(request))
        except DamagedFrame:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an engine raises fails one request only
            return _failed(str(error) or type(error).__name__)

    def _infer(self, request: Frame) -> tuple[Piece, ...]:
        specs = [self._inputs[piece.position] for piece in request.pieces]
        tensors = {
            spec.name: to_array(spec, piece)
            for spec, piece in zip(specs, request.pieces, strict=True)
        }
        answer = self._model.infer(tensors)
        return tuple(
            to_piece(position, self._outputs[position], answer[self._outputs[position].name])
            for position in request.chosen or self._all
        )


def _failed(message: str) -> Frame:
    text = message.encode()[:_MESSAGE_CHARS]
    return Frame(Kind.FAILED, (Piece(0, (len(text),), text),))
