from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.bundle.types import DataType, ReferenceBins, TensorSpec
from sealane.names import SlotName
from sealane.telemetry.bins import Bins, count_values
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.histogram import record
from sealane.telemetry.types import Arm, ErrorKind, Window
from sealane_agent.serving.folding import Answers, Spread, class_output
from sealane_agent.serving.inputs import inputs_of
from sealane_agent.serving.messages import Load
from sealane_agent.serving.recorder import FOLD_REQUESTS, Recorder
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import Inference, InvalidInference, ModelFailed, Tensor
from support.clock import MovableClock
from support.eventually import until
from support.fake_workers import FakeWorker, FakeWorkshop, deployment, inference, pointer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from numpy.typing import NDArray

CAM = SlotName("cam")
EDGES = (0.0, 1.0, 2.0)
REFERENCE = (ReferenceBins("x", EDGES, (1, 1, 1, 1)),)


class Stage:
    """A slot on a clock of the test's own, and the windows that its recorder closed."""

    def __init__(self) -> None:
        self.clock = MovableClock(datetime(2026, 1, 1, 12, 0, 7, tzinfo=UTC))
        self.windows: list[Window] = []
        self.recorder = Recorder(self.clock, self.windows.append)
        self.workshop = FakeWorkshop()
        self.slot = Slot("cam", self.workshop, self.recorder)

    async def serve(self, version: int, *, probation: bool = False) -> FakeWorker:
        proved = await self.slot.load(Load("cam", pointer(version), 5))
        self.slot.activate(proved.worker, probation=probation)
        return self.workshop.workers[-1]

    def close(self) -> Window:
        self.clock.advance(timedelta(seconds=60))
        self.recorder.close()
        return self.windows[-1]

    def counts(self) -> dict[tuple[str, str], tuple[int, dict[ErrorKind, int], int]]:
        """By release and arm: requests, errors and fallbacks."""
        return {
            (model.release[-1], model.arm): (model.requests, dict(model.errors), model.fallbacks)
            for model in self.close().models
        }


def play(test: Callable[[Stage], Awaitable[None]]) -> None:
    async def within() -> None:
        stage = Stage()
        try:
            async with asyncio.timeout(10):
                await test(stage)
        finally:
            await stage.slot.close(0)

    asyncio.run(within())


def test_every_answer_is_counted_and_timed_once() -> None:
    async def test(stage: Stage) -> None:
        await stage.serve(1)
        for _ in range(FOLD_REQUESTS + 7):
            await stage.slot.infer(None, inference())
        (model,) = stage.close().models
        assert (model.slot, model.release, model.arm) == ("cam", "vision/digits@1", Arm.ACTIVE)
        assert model.requests == model.timings.latency.count == FOLD_REQUESTS + 7
        assert model.timings.batch == record([1.0] * (FOLD_REQUESTS + 7))
        assert model.errors == {}

    play(test)


def test_a_window_in_which_nothing_happened_is_let_go() -> None:
    stage = Stage()
    stage.clock.advance(timedelta(seconds=60))
    stage.recorder.close()
    assert stage.windows == []


def test_a_closed_window_is_one_that_can_be_sent() -> None:
    async def test(stage: Stage) -> None:
        worker = await stage.serve(1)
        await stage.slot.infer(None, inference())
        worker.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await stage.slot.infer(None, inference())
        window = stage.close()
        assert decode_windows(encode_windows([window])) == (window,)

    play(test)


def test_each_kind_of_failure_is_counted_as_what_it_was() -> None:
    async def test(stage: Stage) -> None:
        worker = await stage.serve(1)
        with pytest.raises(InvalidInference):
            await stage.slot.infer(None, inference(b"123"))
        worker.fails_on = lambda _: True
        with pytest.raises(ModelFailed):
            await stage.slot.infer(None, inference())
        worker.gate = asyncio.Event()
        away = asyncio.create_task(stage.slot.infer(None, inference()))
        await asyncio.sleep(0)
        away.cancel()
        await asyncio.wait([away])
        errors = {ErrorKind.REFUSED: 1, ErrorKind.FAILED: 1, ErrorKind.CANCELLED: 1}
        assert stage.counts() == {("1", Arm.ACTIVE): (3, errors, 0)}

    play(test)


def test_in_probation_the_failure_and_the_answer_count_where_they_happened() -> None:
    async def test(stage: Stage) -> None:
        await stage.serve(1)
        new = await stage.serve(2, probation=True)
        new.fails_on = lambda _: True
        await stage.slot.infer(None, inference())
        assert stage.counts() == {
            ("1", Arm.PREVIOUS): (1, {}, 0),
            ("2", Arm.ACTIVE): (1, {ErrorKind.FAILED: 1}, 1),
        }

    play(test)


def test_a_lost_worker_whose_request_is_answered_counts_as_a_crash() -> None:
    async def test(stage: Stage) -> None:
        await stage.serve(1)
        active = await stage.serve(2)
        active.gate, active.alive = asyncio.Event(), True
        inside = asyncio.create_task(stage.slot.infer(None, inference()))
        await asyncio.sleep(0)
        active.alive = False
        active.gate.set()
        await inside
        assert stage.counts() == {
            ("1", Arm.PREVIOUS): (1, {}, 0),
            ("2", Arm.ACTIVE): (1, {ErrorKind.CRASHED: 1}, 1),
        }
        host = stage.windows[-1].host
        assert host is not None
        assert host.restarts == 1

    play(test)


def test_a_request_that_names_the_previous_version_counts_there_alone() -> None:
    async def test(stage: Stage) -> None:
        await stage.serve(1)
        await stage.serve(2)
        await stage.slot.infer(1, inference())
        assert stage.counts() == {("1", Arm.PREVIOUS): (1, {}, 0)}

    play(test)


def test_a_request_across_a_swap_counts_for_whom_it_was() -> None:
    async def test(stage: Stage) -> None:
        old = await stage.serve(1)
        old.gate = asyncio.Event()
        inside = asyncio.create_task(stage.slot.infer(None, inference()))
        await asyncio.sleep(0)
        await stage.serve(2)
        old.gate.set()
        await inside
        await stage.slot.infer(None, inference())
        assert stage.counts() == {
            ("1", Arm.ACTIVE): (1, {}, 0),
            ("2", Arm.ACTIVE): (1, {}, 0),
        }

    play(test)


def test_nothing_is_recorded_of_a_version_that_nobody_has() -> None:
    async def test(stage: Stage) -> None:
        await stage.serve(1)
        with pytest.raises(Exception, match="no such version"):
            await stage.slot.infer(9, inference())
        stage.clock.advance(timedelta(seconds=60))
        stage.recorder.close()
        assert stage.windows == []

    play(test)


def test_a_retired_release_is_forgotten_once_its_window_is_closed() -> None:
    async def test(stage: Stage) -> None:
        for version in range(1, 6):
            await stage.serve(version)
            await stage.slot.infer(None, inference())
        assert len(stage.close().models) == 5

        def forgotten() -> bool:
            gc.collect()
            return len(stage.recorder._known) <= 3

        await until(forgotten)

    play(test)


def test_windows_close_every_minute_and_in_probation_every_ten_seconds() -> None:
    stage = Stage()
    assert 0 < stage.recorder.remaining_s <= 60
    stage.clock.advance(timedelta(seconds=stage.recorder.remaining_s))
    stage.recorder.close()
    assert stage.recorder.remaining_s == pytest.approx(60, abs=1e-3)
    stage.recorder.pace(CAM, probation=True)
    assert stage.recorder.remaining_s <= 10
    stage.clock.advance(timedelta(seconds=stage.recorder.remaining_s))
    stage.recorder.pace(CAM, probation=False)
    stage.recorder.close()
    assert stage.recorder.remaining_s > 10


# Folding


def test_numbers_are_counted_as_one_by_one() -> None:
    values = [0.0, 1e-9, 0.5, 1.0, 3.0, 1000.0, 123456.0, 1e15, 7.0, 7.0]
    spread = Spread()
    spread.add(np.array(values[:4]))
    spread.add(np.array(values[4:]))
    assert spread.read() == record(values)


def test_only_a_single_output_with_rows_of_two_or_more_holds_classes() -> None:
    label = TensorSpec("label", DataType.INT64, (-1,))
    rows = TensorSpec("p", DataType.FP32, (-1, 3))
    assert class_output(deployment(outputs=(label, rows))) is not None
    assert class_output(deployment(outputs=(label,))) is None
    assert class_output(deployment(outputs=(rows, replace(rows, name="q")))) is None
    assert class_output(deployment(outputs=(TensorSpec("y", DataType.FP32, (-1, 1)),))) is None
    assert class_output(deployment(outputs=(TensorSpec("y", DataType.FP32, (-1, -1)),))) is None


def answers(*rows: list[float]) -> Answers:
    output = class_output(deployment(outputs=(TensorSpec("p", DataType.FP32, (-1, len(rows[0]))),)))
    assert output is not None
    found = Answers(output)
    found.add(b"".join(np.array(row, np.float32).tobytes() for row in rows))
    return found


def test_the_first_class_and_its_confidence_are_counted() -> None:
    found = answers([0.1, 0.9], [0.52, 0.48], [1.0, 0.0]).read()
    assert found.classes == (2, 1)
    assert found.confidence.count == 3
    assert found.confidence.counts[10] == found.confidence.counts[19] == 1


def test_numbers_that_are_no_probabilities_have_a_class_and_no_confidence() -> None:
    found = answers([3.0, -9.0], [0.5, 0.7]).read()
    assert found.classes == (1, 1)
    assert found.confidence.count == 0


def test_a_row_that_is_not_finite_has_neither() -> None:
    found = answers([float("nan"), 0.5], [float("inf"), 0.5], [0.2, 0.8]).read()
    assert found.classes == (0, 1)
    assert found.confidence.non_finite == 2


def test_classes_beyond_the_limit_are_counted_together() -> None:
    rows = np.eye(100)[[0, 63, 64, 99]].tolist()
    found = answers(*rows).read()
    assert (len(found.classes), found.other_classes) == (64, 2)


def sampled(reference: tuple[ReferenceBins, ...], values: NDArray[Any]) -> dict[str, Bins]:
    """What is counted of one request with these values, which are of the input `x`."""
    datatype = DataType.UINT8 if values.dtype == np.uint8 else DataType.FP32
    specs = (TensorSpec("x", datatype, (-1, *values.shape[1:])),)
    (item,) = inputs_of(deployment(inputs=specs, reference=reference))
    assert item.sample(Tensor("x", datatype, values.shape, values.tobytes())) > 0
    return {name: counter.read() for name, counter in item.counters.items()}


def bins(name: str, *edges: float) -> ReferenceBins:
    return ReferenceBins(name, edges, (1,) * (len(edges) + 1))


def test_inputs_are_counted_in_the_bins_of_the_reference() -> None:
    values = [-1.0, 0.0, 0.5, 2.0, 9.0, float("nan"), float("inf"), 1.0]
    found = sampled(REFERENCE, np.array(values, np.float32).reshape(4, 2))
    assert found == {"x": count_values(EDGES, values)}


def test_columns_are_counted_by_themselves() -> None:
    table = np.array([[1, 10], [2, 20], [3, float("nan")]], np.float32)
    found = sampled((bins("x[0]", 2.5), bins("x[1]", 15.0)), table)
    assert found == {"x[0]": Bins((2, 1)), "x[1]": Bins((1, 1), 0, 1)}


def test_images_are_described_each_by_one_number() -> None:
    images = np.full((5, 8, 8), 40, np.uint8)
    images[0, 3] = 255
    found = sampled((bins("x:brightness", 50.0), bins("x:stripes", 100.0)), images)
    assert found == {"x:brightness": Bins((4, 1)), "x:stripes": Bins((4, 1))}


def test_signals_are_described_each_by_one_number() -> None:
    found = sampled((bins("x:rms", 2.0),), np.array([[3, -3, 3], [1, 1, -1]], np.float32))
    assert found == {"x:rms": Bins((1, 1))}


def test_of_a_large_input_some_values_are_counted_from_everywhere() -> None:
    image = np.zeros((1, 500, 500, 3), np.uint8)
    image[:, :, :, 1] = 255
    found = sampled((bins("x", 128.0), bins("x:brightness", 50.0)), image)
    assert found["x"].count <= 4200
    assert found["x"].over / found["x"].count == pytest.approx(1 / 3, abs=0.02)
    assert found["x:brightness"].count == 0, "too large to be described in between"


def test_of_a_large_batch_the_first_rows_are_counted() -> None:
    assert sampled(REFERENCE, np.ones((10_000, 2), np.float32))["x"].count == 4096


def test_a_reference_with_too_many_bins_or_of_texts_is_left_out() -> None:
    many = ReferenceBins("x", tuple(map(float, range(64))), (0,) * 65)
    assert inputs_of(deployment(reference=(many,))) == ()
    texts = (TensorSpec("x", DataType.BYTES, (-1,)),)
    assert inputs_of(deployment(inputs=texts, reference=REFERENCE)) == ()


def test_inputs_are_sampled_at_a_bounded_rate() -> None:
    stage = Stage()
    series = stage.recorder.series(CAM, pointer(1), Arm.ACTIVE)
    series.understand(deployment(reference=REFERENCE))
    asked = Inference((Tensor("x", DataType.FP32, (1, 2), bytes(8)),))
    for number in range(10_000):
        series.answer(1 + number / 10_000, 0.001, asked, ())
    (model,) = stage.close().models
    assert model.requests == 10_000
    assert 14 * 2 <= model.inputs["x"].count <= 18 * 2
    assert model.inputs["x"] != Bins()
