"""An exchange whose ring has a worker's end that the test itself plays."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from sealane_agent.serving.exchange import Exchange
from sealane_agent.serving.geometry import PAGE, Geometry
from sealane_agent.serving.ring import Ring
from sealane_agent.serving.ring_frames import Frame, Kind, Piece, write_frame
from sealane_agent.serving.types import Inference, Tensor, WorkerDied, WorkerHung
from support.workers import Recipe, answer_of, deployment_of, request, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from sealane_agent.serving.spinning import Spin

SLOTS = 2
PATIENT_S = 60.0
ONE = request(rows(1))

Answer = tuple[Tensor, ...]


class Stage:
    """An exchange and the worker's end of its ring."""

    def __init__(self, spin: Spin | None = None, slot_bytes: int = PAGE) -> None:
        self.ring = Ring.create(Geometry(SLOTS, slot_bytes))
        self.stuck: list[str] = []
        self.exchange = Exchange(self.ring, deployment_of(Recipe(b"")), self.on_stuck, spin)

    def on_stuck(self, why: str) -> None:
        self.stuck.append(why)
        self.exchange.fail_all(lambda: WorkerHung(why))

    def ask(self, inference: Inference = ONE, timeout_s: float = PATIENT_S) -> asyncio.Task[Answer]:
        return asyncio.create_task(answer_of(self.exchange, inference, timeout_s))

    def take(self) -> int:
        slot = self.ring.requests.take()
        assert slot is not None
        return slot

    def answer(self, slot: int, label: int, kind: Kind = Kind.ANSWER) -> None:
        piece = Piece(1, (1,), label.to_bytes(8, "little"))
        write_frame(self.ring.slot(slot), Frame(kind, (piece,)))
        self.ring.answers.put(slot)


@contextlib.asynccontextmanager
async def staged(spin: Spin | None = None, slot_bytes: int = PAGE) -> AsyncIterator[Stage]:
    stage = Stage(spin, slot_bytes)
    try:
        yield stage
    finally:
        stage.exchange.fail_all(lambda: WorkerDied("the test is over"))
        stage.exchange.close()


def play(scene: Coroutine[None, None, None]) -> None:
    asyncio.run(scene)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def label_of(answer: Answer) -> int:
    return int.from_bytes(answer[0].data, "little")
