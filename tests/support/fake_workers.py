"""Workers without processes: they answer, fail, hang or die as a test tells them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealane.bundle.types import DataType, Deployment, Golden, TensorSpec, Variant
from sealane.failure import Failure, FailureKind
from sealane.names import Digest, ReleaseName
from sealane_agent.layout import Pointer
from sealane_agent.serving.messages import Proved
from sealane_agent.serving.types import (
    Inference,
    LoadFailed,
    ModelFailed,
    ServingError,
    Tensor,
    WorkerDied,
    WorkerHung,
)

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable

    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.totals import Totals
    from sealane_agent.serving.types import Answer

ROW = (1.0, 2.0)


def pointer(version: int, model: str = "vision/digits") -> Pointer:
    """A release of that version."""
    return Pointer(ReleaseName(model, version), Digest(f"sha256:{version:064x}"), "onnx-fp32")


def deployment(**changes: object) -> Deployment:
    """A model of one FP32 input `x` [-1, 2] and one output `y` [-1, 2]."""
    fields = {
        "model": "vision/digits",
        "inputs": (TensorSpec("x", DataType.FP32, (-1, 2)),),
        "outputs": (TensorSpec("y", DataType.FP32, (-1, 2)),),
        "variants": (
            Variant("onnx-fp32", "onnxruntime", "cpu", "fp32", "m.onnx", ("m.onnx",), {}),
        ),
        "golden": Golden(1, {}, {}),
    }
    return Deployment(**{**fields, **changes})  # type: ignore[arg-type] # fields are the example


def inference(data: bytes = b"\0" * 8, shape: tuple[int, ...] = (1, 2)) -> Inference:
    """A request that fits `deployment()`."""
    return Inference((Tensor("x", DataType.FP32, shape, data),))


@dataclass
class FakeWorker:
    """Echoes its input as `y`; `fails_on` decides which requests raise ModelFailed."""

    name: str
    pointer: Pointer
    deployment: Deployment = field(default_factory=deployment)
    alive: bool = True
    closed: bool = False
    held_bytes: int = 50_000_000
    proved_bytes: int = 50_000_000
    peak_bytes: int = 60_000_000
    broke: str = ""
    degraded: str = ""
    answered: int = 0
    fails_on: Callable[[Inference], bool] = lambda _: False
    hangs: bool = False
    gate: asyncio.Event | None = None
    stands_by: bool = False
    waits: array[float] | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def proved(self) -> Proved:
        """A proof of nothing in particular."""
        return Proved(self.name, "1.32.0", 0.0, 100, self.proved_bytes, 700)

    def begin(
        self, inference: Inference, timeout_s: float, done: Callable[[Answer | ServingError], None]
    ) -> Callable[[], None]:
        """Echo, after the gate has opened."""
        del timeout_s

        async def answer() -> None:
            try:
                outcome: Answer | ServingError = await self._answer(inference)
            except ServingError as error:
                outcome = error
            done(outcome)

        task = asyncio.create_task(answer())
        self.tasks.append(task)

        def take_back() -> None:
            task.cancel()

        return take_back

    async def _answer(self, inference: Inference) -> Answer:
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.hangs:
            self.alive = False
            raise WorkerHung("the worker made no progress")
        if not self.alive:
            raise WorkerDied("the worker ended")
        if self.closed:
            raise AssertionError("a closed worker was asked")
        if self.fails_on(inference):
            raise ModelFailed("the engine raised an error")
        self.answered += 1
        source = inference.inputs[0]
        return (Tensor("y", source.datatype, source.shape, source.data),)

    def stand_by(self, *, stands_by: bool) -> None:
        self.stands_by = stands_by

    def record_times(self, totals: Totals, waits: array[float] | None) -> None:
        """Remember where; nothing ever waits for it."""
        del totals
        self.waits = waits

    async def close(self, drain_s: float) -> None:
        """End."""
        del drain_s
        await asyncio.sleep(0)
        self.closed = True
        self.alive = False


@dataclass
class FakeWorkshop:
    """Starts fake workers and remembers them; `broken` says how many starts fail first."""

    workers: list[FakeWorker] = field(default_factory=list)
    broken: int = 0
    prepare: Callable[[FakeWorker], None] = lambda _: None
    slow: asyncio.Event | None = None
    asked: list[Load] = field(default_factory=list)

    async def __call__(self, name: str, load: Load) -> FakeWorker:
        """Start one."""
        self.asked.append(load)
        if self.slow is not None:
            await self.slow.wait()
        if self.broken:
            self.broken -= 1
            raise LoadFailed(broken_bundle(load.pointer.variant))
        worker = FakeWorker(name, load.pointer)
        self.prepare(worker)
        self.workers.append(worker)
        return worker


def broken_bundle(element: str) -> Failure:
    """What a load of a bad model says."""
    return Failure(
        FailureKind.PERMANENT, "staged", "runtime", element, "the model cannot be read", "pack it"
    )
