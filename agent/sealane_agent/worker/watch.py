"""Hears, while a model computes, that nobody waits for its answer any longer, and stops it.

A thread of its own: the worker's other threads are inside the engine then. For models whose
inference is so short that stopping it would save nothing, there is no such thread.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from sealane_agent.serving.ring_frames import is_wanted

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from sealane_agent.runtimes.base import Model
    from sealane_agent.serving.ring import Ring

WORTH_US: Final = 5000
"""Shortest inference, in microseconds, that is worth being stopped."""

_PACKET_BYTES: Final = 64


class Watch:
    """Reads what the endpoint sends while the model works."""

    def __init__(self, control: socket.socket, ring: Ring, models: Sequence[Model]) -> None:
        self._control = control
        self._ring = ring
        self._models = models
        self._guard = threading.Lock()
        self._working: list[int | None] = [None] * len(models)
        self.left = False

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._listen, name="watch", daemon=True).start()

    def begin(self, hand: int, number: int | None) -> None:
        """Hear which request a hand works on; None after it."""
        with self._guard:
            self._working[hand] = number

    def _listen(self) -> None:
        while packet := self._control.recv(_PACKET_BYTES):
            self._stop(int(packet))
        self.left = True
        os.eventfd_write(self._ring.handles.worker_bell, 1)

    def _stop(self, number: int) -> None:
        """Only the request that was meant: while the guard is held, no other one begins."""
        with self._guard:
            if number in self._working and not is_wanted(self._ring.slot(number)):
                self._models[self._working.index(number)].cancel()
