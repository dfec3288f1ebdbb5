"""Which inference is stopped when nobody waits for one any longer."""

from __future__ import annotations

import os
from queue import Queue
from typing import TYPE_CHECKING

import pytest
from sealane_agent.serving.geometry import PAGE, Geometry
from sealane_agent.serving.ring import Ring
from sealane_agent.serving.ring_frames import set_wanted, unset_wanted
from sealane_agent.worker.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = 60.0


class Control:
    """The socket to the endpoint: gives what the test puts there."""

    def __init__(self) -> None:
        self.packets: Queue[bytes] = Queue()

    def recv(self, _: int) -> bytes:
        return self.packets.get(timeout=WAIT_S)


class Stopped:
    """A model that says when it is stopped."""

    def __init__(self, number: int, seen: Queue[int]) -> None:
        self._number = number
        self._seen = seen

    def cancel(self) -> None:
        self._seen.put(self._number)


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.create(Geometry(4, PAGE))
    yield ring
    ring.close()


def test_the_hand_is_stopped_that_works_on_what_nobody_wants(ring: Ring) -> None:
    control, seen = Control(), Queue[int]()
    watch = Watch(control, ring, [Stopped(0, seen), Stopped(1, seen)])  # type: ignore[arg-type, list-item] # played by hand
    watch.start()
    set_wanted(ring.slot(2))
    unset_wanted(ring.slot(3))
    watch.begin(0, 2)
    watch.begin(1, 3)
    for slot in (1, 2, 3):
        control.packets.put(str(slot).encode())
    assert seen.get(timeout=WAIT_S) == 1
    control.packets.put(b"")
    while not watch.left:
        os.sched_yield()
    assert seen.empty()
