"""Binds an engine to requests that repeat themselves: their tensors lie where they lay before.

An engine that is given arrays looks at them anew each time, and makes new ones for its answer; for
a small model that takes as long as to compute. So the second request of a form in a slot is
computed twice, the second time bound to the slot and to arrays that are kept, and only what then
gave the very same bytes is used from there on: not what depends on chance, nor an output that an
engine puts elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sealane.limits import KIB

from sealane_agent.runtimes.base import Binds, InferenceFailed
from sealane_agent.serving.ring_frames import write_laid_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from sealane_agent.runtimes.base import Model
    from sealane_agent.serving.ring_frames import Layout

    Arrays = Mapping[str, NDArray[Any]]

ANSWER_BYTES: Final = 4 * KIB
"""All outputs of an answer that is worth it: to copy larger ones costs more than to make them."""

FORMS: Final = 64
"""Forms of answers that have arrays of their own."""


class Bound(NamedTuple):
    """One form of request in one slot.

    Attributes:
        outputs: arrays that it computes into, those that were asked for, in their order.
        layout: of the answer.
    """

    compute: Callable[[], None]
    outputs: Sequence[NDArray[Any]]
    layout: Layout

    def answer(self, slot: memoryview) -> bool:
        """Compute what lies in the slot, and answer there; False when the engine refused."""
        try:
            self.compute()
        except InferenceFailed:
            return False
        write_laid_out(slot, self.layout, [array.tobytes() for array in self.outputs])
        return True


class Binder:
    """Binds a model for one caller, who answers one request after the other."""

    def __init__(self, model: Model) -> None:
        self._model = model if isinstance(model, Binds) else None
        self._room: dict[Any, Arrays] = {}

    def bind(
        self, asked: Arrays, answer: Arrays, outputs: Sequence[str], layout: Layout
    ) -> Bound | None:
        """Bind to a request that lies in its slot and was answered so; None where that fails."""
        if self._model is None or not 0 < sum(map(_bytes, answer.values())) <= ANSWER_BYTES:
            return None
        room = self._room_for(answer)
        try:
            compute = self._model.bind(asked, room)
            if compute is None:
                return None
            for name, array in room.items():
                other = ~np.frombuffer(answer[name].tobytes(), np.uint8)
                array.reshape(-1).view(np.uint8)[...] = other
            compute()
        except InferenceFailed:
            return None
        if any(answer[name].tobytes() != array.tobytes() for name, array in room.items()):
            self._model = None
            return None
        return Bound(compute, [room[name] for name in outputs], layout)

    def _room_for(self, answer: Arrays) -> Arrays:
        """Arrays like these, the same for all requests that are answered so."""
        form = tuple((name, array.shape, array.dtype.str) for name, array in answer.items())
        if form not in self._room and len(self._room) >= FORMS:
            self._room.clear()
        return self._room.setdefault(
            form, {name: np.empty(array.shape, array.dtype) for name, array in answer.items()}
        )


def _bytes(array: NDArray[Any]) -> int:
    return array.nbytes
