"""What every runtime owes to a worker; one suite for all of them."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sealane_agent.runtimes.base import Binds, Hints, InferenceFailed, ModelRefused
from sealane_agent.runtimes.inventory import installed_runtimes
from sealane_agent.runtimes.onnxruntime import OnnxRuntime
from sealane_agent.runtimes.registry import find_runtime
from sealane_agent.runtimes.threads import never_push_in, own_threads
from support.workers import CLASSES, FEATURES, RUNTIMES, expected, linear_model, rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane_agent.runtimes.base import Model, Runtime

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def long_model() -> bytes:
    """Forty products with a square matrix: some seconds for the rows of `LONG`."""
    side, count = 512, 40
    weight = numpy_helper.from_array(np.eye(side, dtype=np.float32), "w")
    names = ["x", *(f"t{number}" for number in range(count - 1)), "y"]
    graph = helper.make_graph(
        [helper.make_node("MatMul", [given, "w"], [made]) for given, made in pairwise(names)],
        "long",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", side])],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


LONG = np.ones((16_384, 512), np.float32)

HINTS = Hints(outputs=("y", "label"))


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return find_runtime(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model())
    return path


@pytest.fixture
def model(runtime: Runtime, path: Path) -> Model:
    return runtime.load(path, HINTS)


def test_it_answers_as_the_model_says(model: Model) -> None:
    inputs = rows(6)
    answer = model.infer({"x": inputs})
    assert sorted(answer) == ["label", "y"]
    np.testing.assert_allclose(answer["y"], expected(inputs), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(answer["label"], expected(inputs).argmax(axis=1))


def test_it_answers_as_the_other_runtimes_do(path: Path) -> None:
    inputs = rows(9)
    answers = [find_runtime(name).load(path, HINTS).infer({"x": inputs}) for name in RUNTIMES]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer["y"], answers[0]["y"], rtol=1e-5, atol=1e-6)
        assert answer["label"].dtype == answers[0]["label"].dtype == np.int64


@pytest.mark.parametrize("count", [1, 2, 33])
def test_it_takes_any_number_of_rows(model: Model, count: int) -> None:
    for wanted in (count, 5, count):
        inputs = rows(wanted, seed=wanted)
        np.testing.assert_allclose(
            model.infer({"x": inputs})["y"], expected(inputs), rtol=1e-5, atol=1e-6
        )


def test_an_answer_stays_what_it_was_when_the_next_one_comes(model: Model) -> None:
    first = model.infer({"x": rows(2, seed=1)})["y"]
    kept = first.copy()
    model.infer({"x": rows(2, seed=2)})
    np.testing.assert_array_equal(first, kept)


def test_an_input_that_cannot_be_written_is_taken_and_left_alone(model: Model) -> None:
    inputs = rows(2)
    shown = np.frombuffer(inputs.tobytes(), np.float32).reshape(inputs.shape)
    model.infer({"x": shown})
    np.testing.assert_array_equal(shown, inputs)


def test_only_the_outputs_that_were_hinted_are_computed(runtime: Runtime, path: Path) -> None:
    model = runtime.load(path, replace(HINTS, outputs=("y",)))
    assert list(model.infer({"x": rows(1)})) == ["y"]


def test_callers_in_several_threads_get_their_own_answers(model: Model) -> None:
    model.infer({"x": rows(1)})

    def ask(seed: int) -> bool:
        inputs = rows(3, seed)
        return np.allclose(model.infer({"x": inputs})["y"], expected(inputs), atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(200)))


def test_a_shared_model_answers_as_the_first_one_and_both_at_once(model: Model) -> None:
    other = model.share()
    for each in (model, other):
        each.infer({"x": rows(1)})

    def ask(number: int) -> bool:
        inputs = rows(3, number)
        answer = (model, other)[number % 2].infer({"x": inputs})
        return np.allclose(answer["y"], expected(inputs), atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(200)))


def test_bound_to_memory_it_answers_what_lies_there_bit_for_bit(path: Path) -> None:
    model = OnnxRuntime().load(path, HINTS)
    given = rows(3)
    answer = {name: np.empty_like(array) for name, array in model.infer({"x": given}).items()}
    compute = model.bind({"x": given}, answer)
    assert compute is not None
    for seed in range(5):
        given[...] = rows(3, seed)
        compute()
        for name, array in model.infer({"x": given}).items():
            np.testing.assert_array_equal(answer[name], array)


def test_bound_to_memory_of_another_shape_it_refuses(path: Path) -> None:
    model = OnnxRuntime().load(path, HINTS)
    assert isinstance(model, Binds)
    answer: dict[str, NDArray[Any]] = {"y": np.empty((2, CLASSES), np.float32)}
    answer["label"] = np.empty(3, np.int64)
    compute = model.bind({"x": rows(3)}, answer)
    assert compute is not None
    with pytest.raises(InferenceFailed):
        compute()


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": np.zeros((1, FEATURES + 1), np.float32)},
        {"x": np.zeros((1, FEATURES), np.int64)},
        {"z": np.zeros((1, FEATURES), np.float32)},
    ],
    ids=["another shape", "another datatype", "another name"],
)
def test_a_request_that_does_not_fit_fails_alone(
    model: Model, tensors: dict[str, np.ndarray]
) -> None:
    with pytest.raises(InferenceFailed) as raised:
        model.infer(tensors)
    assert str(raised.value)
    inputs = rows(1)
    np.testing.assert_allclose(model.infer({"x": inputs})["y"], expected(inputs), atol=1e-5)


def test_a_truncated_file_is_refused(runtime: Runtime, path: Path) -> None:
    path.write_bytes(linear_model()[:-40])
    with pytest.raises(ModelRefused):
        runtime.load(path, HINTS)


def test_an_unknown_operator_is_refused(runtime: Runtime, path: Path) -> None:
    path.write_bytes(linear_model(op="Frobnicate"))
    with pytest.raises(ModelRefused, match="Frobnicate"):
        runtime.load(path, HINTS)


def test_an_empty_file_is_refused(runtime: Runtime, path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(ModelRefused):
        runtime.load(path, HINTS)


def test_a_missing_output_is_refused(runtime: Runtime, path: Path) -> None:
    with pytest.raises(ModelRefused, match="score"):
        runtime.load(path, Hints(outputs=("y", "score")))


def test_it_says_which_version_of_the_engine_it_is(model: Model) -> None:
    assert model.version in {fact.version for fact in installed_runtimes()}


def test_every_runtime_has_the_processor(runtime: Runtime) -> None:
    assert "cpu" in runtime.accelerators()


def test_openvino_computes_in_the_precision_of_the_variant(path: Path) -> None:
    with pytest.raises(ModelRefused, match="fp8"):
        find_runtime("openvino").load(path, replace(HINTS, precision="fp8"))
    inputs = rows(64)
    exact = find_runtime("openvino").load(path, HINTS).infer({"x": inputs})["y"]
    assert np.abs(exact - expected(inputs)).max() < 1e-5


def test_helpers_of_onnxruntime_leave_their_processors_to_who_computes_already(path: Path) -> None:
    before = own_threads()
    model = find_runtime("onnxruntime").load(path, replace(HINTS, threads=3))
    helpers = own_threads() - before
    assert len(helpers) == 2
    assert {os.sched_getscheduler(each) for each in helpers} == {os.SCHED_BATCH}
    assert {os.sched_getscheduler(each) for each in before & own_threads()} == {os.SCHED_OTHER}
    model.infer({"x": rows(1)})


def test_threads_that_are_gone_or_may_not_change_hold_up_no_other() -> None:
    ready, done = threading.Event(), threading.Event()
    numbers: list[int] = []

    def wait() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        done.wait()

    helper = threading.Thread(target=wait)
    helper.start()
    try:
        assert ready.wait(10)
        never_push_in([2**22 - 1, -1, *numbers])
        assert os.sched_getscheduler(numbers[0]) == os.SCHED_BATCH
    finally:
        done.set()
        helper.join()


def test_the_inventory_names_the_engines_that_are_installed() -> None:
    facts = {fact.name: fact for fact in installed_runtimes()}
    assert set(RUNTIMES) <= set(facts)
    for name in RUNTIMES:
        assert facts[name].version == version(name)
        assert facts[name].accelerators == ("cpu",)


@pytest.mark.parametrize("name", RUNTIMES)
def test_who_shares_a_model_is_not_stopped_with_the_other(name: str, tmp_path: Path) -> None:
    path = tmp_path / "long.onnx"
    path.write_bytes(long_model())
    model = find_runtime(name).load(path, replace(HINTS, outputs=("y",)))
    other = model.share()
    for each in (model, other):
        each.infer({"x": LONG[:100]})
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(other.infer, {"x": LONG[:2000]})
        while not answer.done():
            model.cancel()
            wait([answer], timeout=0.01)
        np.testing.assert_allclose(answer.result()["y"], LONG[:2000])


@pytest.mark.parametrize("name", RUNTIMES)
def test_an_inference_is_stopped_from_another_thread_and_the_next_one_is_not(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / "long.onnx"
    path.write_bytes(long_model())
    model = find_runtime(name).load(path, replace(HINTS, outputs=("y",)))
    model.infer({"x": LONG[:1000]})
    ended: list[object] = []

    def ask() -> None:
        try:
            ended.append(model.infer({"x": LONG}))
        except InferenceFailed as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        model.cancel()
        asking.join(0.01)
    assert isinstance(ended[0], InferenceFailed)
    model.cancel()
    np.testing.assert_allclose(model.infer({"x": LONG[:2]})["y"], LONG[:2])
