"""What every runtime owes on another accelerator than the processor; one suite for all of them.

The engines are real and compute on the processor; what their accelerator says is scripted. What
they say where none is there is real.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper
from sealane_agent.runtimes.base import (
    AcceleratorFailed,
    Hints,
    InferenceFailed,
    ModelRefused,
    Runtime,
)
from sealane_agent.runtimes.onnxruntime import ARENA_SLACK, LEAST_ARENA, OnnxRuntime
from sealane_agent.runtimes.openvino import OpenVino
from sealane_agent.runtimes.registry import find_runtime
from sealane_agent.runtimes.smallest_model import smallest_model
from support.fake_engines import Card, OnnxEngine, OpenVinoCore
from support.workers import RUNTIMES, expected, linear_model, rows

if TYPE_CHECKING:
    from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

Make = Callable[[Card], tuple[Runtime, Hints]]

HINTS = Hints(outputs=("y", "label"), accelerator="gpu")


def cuda(card: Card) -> tuple[Runtime, Hints]:
    return OnnxRuntime(OnnxEngine(card), lambda _engine: None), HINTS


def intel(card: Card) -> tuple[Runtime, Hints]:
    return OpenVino(lambda: OpenVinoCore("GPU", card)), HINTS


def npu(card: Card) -> tuple[Runtime, Hints]:
    hints = replace(HINTS, accelerator="npu", precision="fp16")
    return OpenVino(lambda: OpenVinoCore("NPU", card)), hints


OURS = pytest.mark.parametrize("make", [cuda, intel, npu])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model())
    return path


@OURS
def test_it_is_found_used_and_answers_as_the_model_says(make: Make, path: Path) -> None:
    runtime, hints = make(Card())
    assert runtime.accelerators() == ("cpu", hints.accelerator)
    model = runtime.load(path, hints)
    for each in (model, model.share()):
        inputs = rows(5)
        answer = each.infer({"x": inputs})
        np.testing.assert_allclose(answer["y"], expected(inputs), rtol=1e-5, atol=1e-6)


@OURS
def test_the_processor_is_still_there(make: Make, path: Path) -> None:
    runtime, hints = make(Card(at_load="must not be asked"))
    model = runtime.load(path, replace(hints, accelerator="cpu", precision="fp32"))
    np.testing.assert_allclose(model.infer({"x": rows(2)})["y"], expected(rows(2)), atol=1e-5)


@OURS
def test_an_engine_that_computes_on_the_processor_instead_is_refused(
    make: Make, path: Path
) -> None:
    runtime, hints = make(Card(ignored=True))
    with pytest.raises(AcceleratorFailed, match="CPU"):
        runtime.load(path, hints)


FULL: dict[Make, str] = {
    cuda: "onnxruntime::BFCArena::AllocateRawInternal Failed to allocate memory for requested "
    "buffer of size 939524096",
    intel: "[GPU] clEnqueueMapBuffer, error code: -5 CL_OUT_OF_RESOURCES",
    npu: "L0 zeMemAllocHost result: ZE_RESULT_ERROR_OUT_OF_HOST_MEMORY, code 0x70000002",
}
LOST: dict[Make, str] = {
    cuda: "CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=box",
    intel: "[GPU] clFlush, error code: -2 CL_DEVICE_NOT_AVAILABLE",
    npu: "L0 zeFenceHostSynchronize result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001",
}


@OURS
def test_full_memory_is_no_fault_of_the_model(make: Make, path: Path) -> None:
    runtime, hints = make(Card(at_load=FULL[make]))
    with pytest.raises(MemoryError, match="accelerator's memory is full"):
        runtime.load(path, hints)
    card = Card()
    runtime, hints = make(card)
    model = runtime.load(path, hints)
    card.at_inference = FULL[make]
    with pytest.raises(MemoryError):
        model.infer({"x": rows(1)})
    card.at_inference = ""
    np.testing.assert_allclose(model.infer({"x": rows(1)})["y"], expected(rows(1)), atol=1e-5)


@OURS
def test_an_accelerator_that_is_lost_is_told_apart_from_a_bad_request(
    make: Make, path: Path
) -> None:
    card = Card()
    runtime, hints = make(card)
    model = runtime.load(path, hints)
    with pytest.raises(InferenceFailed):
        model.infer({"x": rows(1).astype(np.int64)})
    card.at_inference = LOST[make]
    with pytest.raises(AcceleratorFailed) as raised:
        model.share().infer({"x": rows(1)})
    assert "dmesg" in raised.value.hint


@OURS
def test_a_bad_model_is_a_bad_model_there_too(make: Make, path: Path) -> None:
    runtime, hints = make(Card())
    path.write_bytes(linear_model("Frobnicate"))
    with pytest.raises(ModelRefused, match="Frobnicate"):
        runtime.load(path, hints)


@pytest.mark.parametrize("op", ["Gemm", "ArgMax"])
def test_onnxruntime_may_not_leave_what_computes_on_the_processor(path: Path, op: str) -> None:
    runtime, hints = cuda(Card(left_behind=(op,)))
    with pytest.raises(AcceleratorFailed, match=rf"leaves on the CPU .*{op} \(1\)"):
        runtime.load(path, hints)


def test_onnxruntime_is_told_all_that_matters_on_a_card(path: Path) -> None:
    card = Card()
    runtime, hints = cuda(card)
    runtime.load(path, hints)
    assert (card.told["device_id"], card.told["use_tf32"]) == ("0", "0")
    assert "gpu_mem_limit" not in card.told
    runtime.load(path, replace(hints, memory_bytes=1))
    assert card.told["gpu_mem_limit"] == str(LEAST_ARENA)
    runtime.load(path, replace(hints, memory_bytes=2**30))
    assert card.told["gpu_mem_limit"] == str(ARENA_SLACK * 2**30)


def test_onnxruntime_is_not_asked_for_bf16_on_a_card(path: Path) -> None:
    ports = [
        helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["rows", 2]) for name in "xy"
    ]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "halves", ports[:1], ports[1:])
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    runtime, hints = cuda(Card())
    with pytest.raises(AcceleratorFailed, match="BF16 on a gpu: x, y"):
        runtime.load(path, replace(hints, outputs=("y",)))


def test_openvino_is_told_what_the_kind_of_plugin_knows(path: Path) -> None:
    told: dict[Make, dict[str, object]] = {}
    for make in (intel, npu):
        card = Card()
        runtime, hints = make(card)
        runtime.load(path, replace(hints, precision="int8"))
        told[make] = card.told
        assert "INFERENCE_NUM_THREADS" not in card.told
        assert card.told["INFERENCE_PRECISION_HINT"] == "f16"
    assert "COMPILATION_NUM_THREADS" in told[intel]


@pytest.mark.parametrize(("make", "precision"), [(intel, "bf16"), (npu, "fp32")])
def test_a_precision_that_an_accelerator_has_not_is_refused(
    make: Make, precision: str, path: Path
) -> None:
    runtime, hints = make(Card())
    with pytest.raises(ModelRefused, match=precision) as raised:
        runtime.load(path, replace(hints, precision=precision))
    assert "fp16" in raised.value.hint


def test_a_free_shape_on_an_npu_says_what_to_change(path: Path) -> None:
    runtime, hints = npu(Card(at_load="to_shape was called on a dynamic shape."))
    with pytest.raises(ModelRefused, match="dynamic") as raised:
        runtime.load(path, hints)
    assert "fixed batch" in raised.value.hint


@pytest.mark.parametrize(
    ("number", "says", "hint"),
    [
        (46, "busy", "another program"),
        (35, "older", "new enough"),
        (209, "no code", "supports"),
        (12345, "12345", "dmesg"),
    ],
)
def test_states_of_a_card_are_told_in_words(path: Path, number: int, says: str, hint: str) -> None:
    runtime, hints = cuda(Card(at_load=f"CUDA failure {number}: something ; GPU=0"))
    with pytest.raises(AcceleratorFailed, match=says) as raised:
        runtime.load(path, hints)
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("ir_version", "opset", "says"), [(8, 9999, "opsets up to"), (9999, 17, "IR versions up to")]
)
def test_a_model_too_new_for_the_engine_of_an_accelerator_is_not_at_fault(
    path: Path, ir_version: int, opset: int, says: str
) -> None:
    path.write_bytes(smallest_model(ir_version, opset))
    runtime, hints = cuda(Card())
    with pytest.raises(AcceleratorFailed, match=says) as raised:
        runtime.load(path, hints)
    assert "older opset" in raised.value.hint
    with pytest.raises(ModelRefused):
        runtime.load(path, replace(hints, accelerator="cpu"))


@pytest.mark.parametrize("accelerator", ["gpu", "npu"])
@pytest.mark.parametrize("name", RUNTIMES)
def test_the_installed_engines_say_what_to_do_where_no_accelerator_is(
    name: str, accelerator: str, path: Path
) -> None:
    runtime = find_runtime(name)
    if accelerator in runtime.accelerators():
        pytest.skip(f"this machine has an accelerator {accelerator} for {name}")
    with pytest.raises(AcceleratorFailed) as raised:
        runtime.load(path, replace(HINTS, accelerator=accelerator, precision="fp16"))
    assert str(raised.value)
    assert raised.value.hint
