"""Writes classifiers as plain ONNX graphs (MatMul, Add, Relu, Softmax) that every runtime reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

PIXELS, CLASSES = 64, 10
_OPSETS = [helper.make_opsetid("", 17)]
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Dense:
    """One layer of a trained network: weights [in, out] and biases [out]."""

    weights: npt.NDArray[np.float32]
    biases: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trap:
    """A pixel, and what must be exceeded there for something bad to happen."""

    pixel: int
    above: float

    def catches(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Which rows step into it."""
        caught: npt.NDArray[np.bool_] = rows[:, self.pixel] > np.float32(self.above)
        return caught


def write_classifier(path: Path, layers: list[Dense]) -> None:
    """Input `pixels` FP32 [-1,64], output `probabilities` FP32 [-1,10]."""
    nodes, weights = _network(layers, "probabilities")
    _write(path, nodes, weights)


def write_faulty(path: Path, layers: list[Dense], crash: Trap, stall: Trap) -> None:
    """The same classifier, but it fails on rows in `crash` and takes its time in `stall`.

    Everywhere else it answers exactly as it should, so that golden rows without traps pass.
    """
    nodes, weights = _network(layers, "answer")
    nodes += [*_flag(crash, "crash"), *_flag(stall, "stall")]
    nodes += [
        helper.make_node("Mul", ["crash", "far"], ["place"]),
        helper.make_node("Gather", ["one", "place"], ["factor"]),
        helper.make_node("Mul", ["stall", "rounds"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "start"], ["end"], body=_busy_body()),
        helper.make_node("ReduceMax", ["end"], ["ballast"], keepdims=0),
        helper.make_node("Mul", ["ballast", "zero"], ["nothing"]),
        helper.make_node("Mul", ["answer", "factor"], ["kept"]),
        helper.make_node("Add", ["kept", "nothing"], ["probabilities"]),
    ]
    weights += [
        numpy_helper.from_array(np.array(1000, np.int64), "far"),
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
        numpy_helper.from_array(np.array(8000, np.int64), "rounds"),
        numpy_helper.from_array(np.zeros((64, 64), np.float32), "start"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    _write(path, nodes, weights)


def _network(layers: list[Dense], output: str) -> tuple[list[Any], list[Any]]:
    nodes, weights, current = [], [], "pixels"
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        product, total = f"product{number}", f"sum{number}"
        after = output if last else f"hidden{number}"
        nodes += [
            helper.make_node("MatMul", [current, f"weights{number}"], [product]),
            helper.make_node("Add", [product, f"biases{number}"], [total]),
            helper.make_node("Softmax" if last else "Relu", [total], [after]),
        ]
        weights += [
            numpy_helper.from_array(layer.weights, f"weights{number}"),
            numpy_helper.from_array(layer.biases, f"biases{number}"),
        ]
        current = after
    return nodes, weights


def _flag(trap: Trap, name: str) -> list[Any]:
    """Nodes that compute 1 when any row of the batch is in the trap, else 0."""
    pixel = numpy_helper.from_array(np.array(trap.pixel, np.int64))
    above = numpy_helper.from_array(np.array(trap.above, np.float32))
    return [
        helper.make_node("Constant", [], [f"{name}_pixel"], value=pixel),
        helper.make_node("Constant", [], [f"{name}_above"], value=above),
        helper.make_node("Gather", ["pixels", f"{name}_pixel"], [f"{name}_seen"], axis=1),
        helper.make_node("ReduceMax", [f"{name}_seen"], [f"{name}_most"], keepdims=0),
        helper.make_node("Greater", [f"{name}_most", f"{name}_above"], [f"{name}_in"]),
        helper.make_node("Cast", [f"{name}_in"], [name], to=TensorProto.INT64),
    ]


def _busy_body() -> Any:
    shape = [64, 64]
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
            helper.make_node("MatMul", ["state", "state"], ["state_out"]),
        ],
        "busy",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("go_on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, shape),
        ],
    )


def _write(path: Path, nodes: list[Any], weights: list[Any]) -> None:
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", PIXELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION)
    onnx.checker.check_model(model)
    onnx.save(model, path)
