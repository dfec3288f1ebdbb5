"""The three models that the serving bench asks: a tiny one, a ResNet-18 in size, a camera's image.

Weights are random: only sizes and operations matter here.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sealane.bundle.deployment import encode_deployment
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType, Deployment, Golden, TensorSpec, Tolerance, Variant
from sealane.names import Digest, ReleaseName
from sealane_agent.layout import LKG, Pointer, StateFolder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane.names import SlotName

_OPSETS: Final = [helper.make_opsetid("", 17)]


@dataclass(frozen=True)
class BenchModel:
    """One model, and one row that every client sends."""

    name: str
    content: bytes
    datatype: DataType
    shape: tuple[int, ...]
    classes: int

    def row(self) -> NDArray[Any]:
        """One row, the same each time."""
        dice = np.random.default_rng(5)
        if self.datatype is DataType.UINT8:
            return dice.integers(0, 256, (1, *self.shape), dtype=np.uint8)
        return dice.standard_normal((1, *self.shape)).astype(NUMPY_TYPES[self.datatype])

    def answer(self) -> NDArray[Any]:
        """What the engine answers to it."""
        session = onnxruntime.InferenceSession(self.content, providers=["CPUExecutionProvider"])
        answer: NDArray[Any] = session.run(["y"], {"x": self.row()})[0]
        return answer


class Graph:
    """Collects nodes and weights, each output named by a number."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._dice = np.random.default_rng(11)

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        scale = 1 / np.sqrt(np.prod(shape[1:]) or 1)
        values = (self._dice.standard_normal(shape) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def convolve(self, source: str, sizes: tuple[int, int, int], stride: int) -> str:
        given, wanted, side = sizes
        pads = [side // 2] * 4
        kernel = self.weight(wanted, given, side, side)
        return self.add("Conv", source, kernel, strides=[stride] * 2, pads=pads)

    def finish(self, last: str, model: tuple[int, tuple[int, ...], int]) -> bytes:
        element, shape, classes = model
        self.nodes.append(helper.make_node("Identity", [last], ["y"]))
        graph = helper.make_graph(
            self.nodes,
            "bench",
            [helper.make_tensor_value_info("x", element, ["rows", *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", classes])],
            self.weights,
        )
        made = helper.make_model(graph, opset_imports=_OPSETS, ir_version=8)
        return bytes(made.SerializeToString())


def tiny() -> BenchModel:
    """64 numbers in, 10 out, one hidden layer: the engine takes about ten microseconds."""
    graph = Graph()
    last = "x"
    for given, wanted in pairwise((64, 32, 10)):
        last = graph.add("MatMul", last, graph.weight(given, wanted))
        last = graph.add("Relu", last) if wanted != 10 else last
    last = graph.add("Softmax", last, axis=1)
    content = graph.finish(last, (TensorProto.FLOAT, (64,), 10))
    return BenchModel("tiny", content, DataType.FP32, (64,), 10)


def cnn() -> BenchModel:
    """ResNet-18 without its normalisation: 11 million weights, 1.8 billion multiplications."""
    graph = Graph()
    last = graph.add("Relu", graph.convolve("x", (3, 64, 7), 2))
    last = graph.add("MaxPool", last, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    width = 64
    for wanted in (64, 64, 128, 128, 256, 256, 512, 512):
        stride = 1 if wanted == width else 2
        inner = graph.add("Relu", graph.convolve(last, (width, wanted, 3), stride))
        inner = graph.convolve(inner, (wanted, wanted, 3), 1)
        straight = last if stride == 1 else graph.convolve(last, (width, wanted, 1), stride)
        last, width = graph.add("Relu", graph.add("Add", inner, straight)), wanted
    last = graph.add("Flatten", graph.add("GlobalAveragePool", last))
    last = graph.add("MatMul", last, graph.weight(512, 1000))
    content = graph.finish(last, (TensorProto.FLOAT, (3, 224, 224), 1000))
    return BenchModel("cnn", content, DataType.FP32, (3, 224, 224), 1000)


def image() -> BenchModel:
    """A camera's 640 by 480 pixels as they are, and a small network over them."""
    graph = Graph()
    last = graph.add("Cast", "x", to=TensorProto.FLOAT)
    last = graph.add("Transpose", last, perm=[0, 3, 1, 2])
    last = graph.add("AveragePool", last, kernel_shape=[4, 4], strides=[4, 4])
    for given, wanted in pairwise((3, 8, 16, 16)):
        last = graph.add("Relu", graph.convolve(last, (given, wanted, 3), 2))
    last = graph.add("Flatten", graph.add("GlobalAveragePool", last))
    last = graph.add("MatMul", last, graph.weight(16, 10))
    content = graph.finish(last, (TensorProto.UINT8, (480, 640, 3), 10))
    return BenchModel("image", content, DataType.UINT8, (480, 640, 3), 10)


MODELS: Final = {"tiny": tiny, "cnn": cnn, "image": image}


def place(folder: StateFolder, model: BenchModel, slot: SlotName, version: int = 1) -> Pointer:
    """Put the model into an agent's state folder as the slot's last known good one."""
    pointer = Pointer(ReleaseName(f"bench/{model.name}", version), _digest(model, version), "only")
    view = folder.view(pointer.manifest)
    (view / "golden").mkdir(parents=True)
    contract = Deployment(
        model=f"bench/{model.name}",
        inputs=(TensorSpec("x", model.datatype, (-1, *model.shape)),),
        outputs=(TensorSpec("y", DataType.FP32, (-1, model.classes)),),
        variants=(
            Variant(
                "only",
                "onnxruntime",
                "cpu",
                "fp32",
                "model.onnx",
                ("model.onnx",),
                {"y": Tolerance(1e-3, 1e-3)},
            ),
        ),
        golden=Golden(1, {"x": "golden/x"}, {"y": "golden/y"}),
    )
    _write(view, model, encode_deployment(contract))
    lkg = folder.pointer(slot, LKG)
    lkg.parent.mkdir(parents=True, exist_ok=True)
    lkg.write_bytes(pointer.encode())
    return pointer


def _write(view: Path, model: BenchModel, contract: bytes) -> None:
    (view / "deployment.json").write_bytes(contract)
    (view / "model.onnx").write_bytes(model.content)
    (view / "golden" / "x").write_bytes(model.row().tobytes())
    (view / "golden" / "y").write_bytes(model.answer().tobytes())


def _digest(model: BenchModel, version: int) -> Digest:
    return Digest(f"sha256:{abs(hash((model.name, version))):064x}")


def saved(array: NDArray[Any]) -> bytes:
    """The array as a .npy file, for clients in other processes."""
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()
