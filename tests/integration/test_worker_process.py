"""Real worker processes: proof, answers, crashes, hangs, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import weakref
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
import uvloop
from sealane.failure import FailureKind
from sealane_agent.serving import worker_process
from sealane_agent.serving.types import (
    InvalidInference,
    LoadFailed,
    ModelFailed,
    Tensor,
    WorkerDied,
    WorkerHung,
)
from sealane_agent.serving.worker_launch import ended_early
from sealane_agent.serving.worker_process import WorkerProcess
from support.workers import (
    FEATURES,
    RUNTIMES,
    Recipe,
    answer_of,
    array_of,
    expected,
    lay_out,
    linear_model,
    load_order,
    request,
    rows,
    workplace,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from sealane.failure import Failure
    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.worker_limits import Limits

pytestmark = pytest.mark.slow

PATIENT_S = 30.0


@pytest.fixture(params=RUNTIMES)
def good(request: pytest.FixtureRequest, tmp_path: Path) -> StateFolder:
    return lay_out(tmp_path, Recipe.good(request.param))


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return lay_out(tmp_path, Recipe.good())


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> object:
    gc.collect()  # What earlier tests left as garbage would go meanwhile.
    before = descriptors(), set(psutil.Process().children())
    yield
    assert (descriptors(), set(psutil.Process().children())) == before


@pytest.fixture(scope="module", autouse=True)
def _what_lives_on_is_looked_through_once() -> Iterator[None]:
    """Other files' tests leave so much that each collection would take half a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module", autouse=True)
def _uvloop_has_opened_what_it_keeps() -> None:
    uvloop.run(asyncio.sleep(0))


def descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return sorted(target for target in found if not target.startswith("/proc/"))


def priorities(process: int) -> set[int]:
    threads = (int(path.name) for path in Path(f"/proc/{process}/task").iterdir())
    return {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - another process changes it and sets no event
        await asyncio.sleep(0.001)


@asynccontextmanager
async def working(folder: StateFolder) -> AsyncIterator[WorkerProcess]:
    worker = await WorkerProcess.start("cam-1", load_order(), workplace(folder))
    try:
        yield worker
    finally:
        await worker.close(0)


def play(scene: Callable[[], Awaitable[None]], *, fast: bool = False) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scene()

    (uvloop.run if fast else asyncio.run)(bounded())


def failure_of(folder: StateFolder, load: Load | None = None) -> Failure:
    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load or load_order(), workplace(folder))
        await worker.close(0)

    with pytest.raises(LoadFailed) as raised:
        play(scene)
    assert raised.value.failure.phase == "staged"
    assert raised.value.failure.message
    return raised.value.failure


@pytest.mark.parametrize("fast", [True, False], ids=["uvloop", "asyncio"])
def test_a_worker_proves_itself_and_answers(good: StateFolder, *, fast: bool) -> None:
    async def scene() -> None:
        async with working(good) as worker:
            proved = worker.proved
            assert proved.worker == worker.name == "cam-1"
            assert worker.pointer == load_order().pointer
            assert 0 <= proved.golden_max_error < 1e-4
            assert proved.latency_us > 0
            assert 10 << 20 < proved.memory_bytes < 200 << 20
            assert proved.load_ms > 0
            inputs = rows(5)
            answer = await answer_of(worker, request(inputs), PATIENT_S)
            assert [tensor.name for tensor in answer] == ["y", "label"]
            np.testing.assert_allclose(array_of(answer), expected(inputs), atol=1e-5)

    play(scene, fast=fast)


def test_eight_clients_at_once_get_their_own_answers(good: StateFolder) -> None:
    async def client(worker: WorkerProcess, seed: int) -> None:
        for number in range(100):
            inputs = rows(1 + number % 7, seed=1000 * seed + number)
            answer = await answer_of(worker, request(inputs, "y"), PATIENT_S)
            np.testing.assert_allclose(array_of(answer), expected(inputs), atol=1e-5)

    async def scene() -> None:
        async with working(good) as worker:
            await asyncio.gather(*(client(worker, seed) for seed in range(8)))

    play(scene, fast=True)


def test_only_the_outputs_that_were_asked_for_come_back(state: StateFolder) -> None:
    async def scene() -> None:
        async with working(state) as worker:
            (label,) = await answer_of(worker, request(rows(2), "label"), PATIENT_S)
            assert (label.name, label.shape, len(label.data)) == ("label", (2,), 16)

    play(scene)


def test_an_error_of_the_engine_fails_one_request_and_not_the_worker(good: StateFolder) -> None:
    async def scene() -> None:
        async with working(good) as worker:
            wrong = request(np.zeros((1, FEATURES + 1), np.float32))
            with pytest.raises(ModelFailed):
                await answer_of(worker, wrong, PATIENT_S)
            torn = wrong._replace(inputs=(wrong.inputs[0]._replace(data=b"123"),))
            with pytest.raises(ModelFailed):
                await answer_of(worker, torn, PATIENT_S)
            await answer_of(worker, request(rows(1)), PATIENT_S)

    play(scene)


def test_a_request_larger_than_a_slot_is_refused_before_the_worker_sees_it(
    state: StateFolder,
) -> None:
    async def scene() -> None:
        async with working(state) as worker:
            with pytest.raises(InvalidInference, match="bytes"):
                await answer_of(worker, request(rows(100_000)), PATIENT_S)
            await answer_of(worker, request(rows(1)), PATIENT_S)

    play(scene)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_fails_what_is_inside_at_once(
    state: StateFolder, how: signal.Signals
) -> None:
    async def scene() -> None:
        async with working(state) as worker:
            os.kill(worker.pid, signal.SIGSTOP)
            inside = [
                asyncio.create_task(answer_of(worker, request(rows(1)), PATIENT_S))
                for _ in range(50)
            ]
            await asyncio.sleep(0)
            begun = time.monotonic()
            os.kill(worker.pid, how)
            os.kill(worker.pid, signal.SIGCONT)
            outcomes = await asyncio.gather(*inside, return_exceptions=True)
            # The signal that stops it may come after it has answered some.
            assert isinstance(outcomes[-1], WorkerDied)
            assert all(isinstance(outcome, tuple | WorkerDied) for outcome in outcomes)
            assert time.monotonic() - begun < PATIENT_S / 3
            assert not worker.alive
            with pytest.raises(WorkerDied):
                await answer_of(worker, request(rows(1)), PATIENT_S)

    play(scene, fast=True)


def test_an_idle_worker_that_dies_is_noticed(state: StateFolder) -> None:
    async def scene() -> None:
        async with working(state) as worker:
            os.kill(worker.pid, signal.SIGKILL)
            await until(lambda: not worker.alive)

    play(scene)


def test_a_worker_that_hangs_is_killed_and_everybody_hears_it(good: StateFolder) -> None:
    async def scene() -> None:
        async with working(good) as worker:
            os.kill(worker.pid, signal.SIGSTOP)
            tasks = [
                asyncio.create_task(answer_of(worker, request(rows(1)), 0.3)) for _ in range(40)
            ]
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            # The signal that stops it may come after it has answered some.
            assert isinstance(outcomes[-1], WorkerHung)
            assert all(isinstance(outcome, tuple | WorkerHung) for outcome in outcomes)
            assert not worker.alive
            with pytest.raises(WorkerDied):
                await answer_of(worker, request(rows(1)), PATIENT_S)

    play(scene)


def test_cancelled_requests_leave_a_worker_that_answers_the_next(state: StateFolder) -> None:
    async def scene() -> None:
        async with working(state) as worker:
            for _ in range(20):
                tasks = [
                    asyncio.create_task(answer_of(worker, request(rows(1)), PATIENT_S))
                    for _ in range(100)
                ]
                await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            await answer_of(worker, request(rows(1)), PATIENT_S)

    play(scene, fast=True)


def test_closing_answers_what_is_inside_first(state: StateFolder) -> None:
    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(state))
        inside = [
            asyncio.create_task(answer_of(worker, request(rows(1)), PATIENT_S)) for _ in range(99)
        ]
        await asyncio.sleep(0)
        await worker.close(PATIENT_S)
        for task in inside:
            await task
        assert not worker.alive
        await worker.close(0)

    play(scene)


@pytest.mark.parametrize("shortest_us", [0, 10**9], ids=["interruptible", "not interruptible"])
def test_a_closed_worker_leaves_nothing_for_the_garbage_collection(
    state: StateFolder, monkeypatch: pytest.MonkeyPatch, shortest_us: int
) -> None:
    """One whose inferences can be interrupted has more of it kept."""
    monkeypatch.setattr(worker_process, "INTERRUPT_US", shortest_us)

    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(state))
        assert (worker._exchange.interrupt is not None) == (shortest_us == 0)
        gone = weakref.ref(worker)
        gc.disable()
        try:
            await answer_of(worker, request(rows(1)), PATIENT_S)
            await worker.close(0)
            del worker
            await until(lambda: gone() is None)
        finally:
            gc.enable()

    play(scene)


def test_closing_a_worker_that_does_not_react_ends_it_anyway(state: StateFolder) -> None:
    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(state))
        os.kill(worker.pid, signal.SIGSTOP)
        inside = asyncio.create_task(answer_of(worker, request(rows(1)), PATIENT_S))
        await asyncio.sleep(0)
        await worker.close(0.05)
        with pytest.raises(WorkerDied):
            await inside

    play(scene)


def test_every_thread_of_a_worker_that_takes_part_has_the_usual_priority(
    good: StateFolder,
) -> None:
    async def scene() -> None:
        async with working(good) as worker:
            ours = os.getpriority(os.PRIO_PROCESS, 0)
            worker.stand_by(stands_by=False)
            await until(lambda: priorities(worker.pid) == {ours})

    play(scene)


@dataclass
class FullGroups:
    """Groups whose kernel has ended every worker for its memory."""

    entered: dict[str, tuple[int, Limits]] = field(default_factory=dict)
    limited: dict[str, Limits] = field(default_factory=dict)
    why_not: str = ""

    def enter(self, worker: str, process: int, limits: Limits) -> None:
        self.entered[worker] = process, limits

    def limit(self, worker: str, limits: Limits) -> None:
        self.limited[worker] = limits

    def leave(self, worker: str) -> str:
        return "it reached its limit" if self.entered.pop(worker, None) else ""


def test_a_worker_that_broke_its_limit_says_so_when_it_is_gone(state: StateFolder) -> None:
    groups = FullGroups()

    async def scene() -> None:
        worker = await WorkerProcess.start("cam-1", load_order(), workplace(state, groups))
        process, loading = groups.entered["cam-1"]
        assert process == worker.pid
        assert 0 < groups.limited["cam-1"].memory_bytes < loading.memory_bytes
        assert worker.broke == ""
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: not worker.alive)
        assert worker.broke == "it reached its limit"
        await worker.close(0)

    play(scene)


def test_a_worker_that_breaks_its_limit_while_it_loads_is_the_devices_trouble() -> None:
    failure = ended_early("onnx-fp32", -signal.SIGKILL, "it reached its limit")
    assert failure.kind is FailureKind.ENVIRONMENTAL
    assert failure.message == "the worker could not load: it reached its limit"
    assert "worker.memory" in failure.hint


def test_a_start_that_is_cancelled_leaves_no_process(state: StateFolder) -> None:
    before = len(psutil.Process().children())

    async def scene() -> None:
        starting = asyncio.create_task(WorkerProcess.start("cam-1", load_order(), workplace(state)))
        await until(lambda: len(psutil.Process().children()) > before)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    play(scene)


def test_golden_outputs_that_are_missed_are_refused_for_good(tmp_path: Path) -> None:
    failure = failure_of(lay_out(tmp_path, Recipe(linear_model(), golden_offset=0.5)))
    assert (failure.kind, failure.component) == (FailureKind.PERMANENT, "golden")
    assert "0.5" in failure.message


def test_a_golden_output_that_is_no_number_is_refused_for_good(tmp_path: Path) -> None:
    failure = failure_of(lay_out(tmp_path, Recipe(linear_model(), golden_offset=float("nan"))))
    assert (failure.kind, failure.component) == (FailureKind.PERMANENT, "golden")


@pytest.mark.parametrize(
    "model",
    [b"no model", linear_model()[:-30], linear_model("Unheard")],
    ids=["no model", "truncated", "unknown operator"],
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_model_that_cannot_be_loaded_is_refused_for_good(
    tmp_path: Path, runtime: str, model: bytes
) -> None:
    failure = failure_of(lay_out(tmp_path, Recipe(model, runtime)))
    assert (failure.kind, failure.component) == (FailureKind.PERMANENT, "runtime")


@pytest.mark.parametrize(
    ("recipe", "component"),
    [
        (Recipe(b"", runtime="elsewhere"), "runtime"),
        (Recipe(b"", accelerator="npu"), "accelerator"),
        (Recipe(b"", "openvino", accelerator="npu", precision="fp16"), "accelerator"),
        (Recipe(b"", accelerator="gpu"), "accelerator"),
    ],
    ids=["runtime", "onnxruntime npu", "openvino npu", "onnxruntime gpu"],
)
def test_what_this_device_lacks_is_not_the_releases_fault(
    tmp_path: Path, recipe: Recipe, component: str
) -> None:
    failure = failure_of(lay_out(tmp_path, recipe))
    assert (failure.kind, failure.component) == (FailureKind.ENVIRONMENTAL, component)
    assert failure.hint


def test_a_variant_that_does_not_exist_is_refused_for_good(state: StateFolder) -> None:
    assert failure_of(state, load_order(variant="other")).kind is FailureKind.PERMANENT


def test_a_path_that_leads_out_of_the_bundle_is_refused_for_good(state: StateFolder) -> None:
    contract = state.view(load_order().pointer.manifest) / "deployment.json"
    content = contract.read_bytes()
    assert content.count(b'"model":"model.onnx"') == 1
    outside = b'"model":"../../../outside.onnx"'
    contract.write_bytes(content.replace(b'"model":"model.onnx"', outside))
    failure = failure_of(state)
    assert (failure.kind, failure.component) == (FailureKind.PERMANENT, "bundle")


def test_a_missing_view_is_this_devices_fault(state: StateFolder, tmp_path: Path) -> None:
    failure = failure_of(replace(state, root=tmp_path / "elsewhere"))
    assert (failure.kind, failure.component) == (FailureKind.ENVIRONMENTAL, "store")


def test_a_missing_model_file_is_this_devices_fault(state: StateFolder) -> None:
    (state.view(load_order().pointer.manifest) / "model.onnx").unlink()
    failure = failure_of(state)
    assert (failure.kind, failure.component) == (FailureKind.ENVIRONMENTAL, "store")


def test_a_start_that_takes_too_long_may_be_tried_again(state: StateFolder) -> None:
    assert failure_of(state, load_order(deadline_s=0.01)).kind is FailureKind.TRANSIENT


def test_a_tensor_can_be_a_view_of_a_larger_buffer(state: StateFolder) -> None:
    async def scene() -> None:
        inputs = rows(3)
        buffer = bytearray(b"head" + inputs.tobytes() + b"tail")
        shown = Tensor(
            "x", request(inputs).inputs[0].datatype, inputs.shape, memoryview(buffer)[4:-4]
        )
        async with working(state) as worker:
            answer = await answer_of(worker, request(inputs)._replace(inputs=(shown,)), PATIENT_S)
            np.testing.assert_allclose(array_of(answer), expected(inputs), atol=1e-5)

    play(scene)
