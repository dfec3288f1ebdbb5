"""Small models in view folders, as the supervisor would lay them out, for tests of workers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from sealane.bundle.deployment import encode_deployment
from sealane.bundle.types import (
    DataType,
    Deployment,
    Golden,
    TensorSpec,
    Tolerance,
    Variant,
)
from sealane.names import Digest, ReleaseName
from sealane_agent.layout import Pointer, StateFolder
from sealane_agent.serving.bodies import SlotBodies
from sealane_agent.serving.footprints import Footprints
from sealane_agent.serving.messages import Load
from sealane_agent.serving.types import Inference, ServingError, Tensor
from sealane_agent.serving.worker_groups import NoGroups
from sealane_agent.serving.worker_limits import Terms, Wish
from sealane_agent.serving.worker_process import Workplace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane_agent.serving.exchange import Exchange
    from sealane_agent.serving.types import Answer, Worker
    from sealane_agent.serving.worker_groups import Groups

FEATURES = 4
CLASSES = 3
ROWS = 40
SIDE, PRODUCTS = 512, 80
MANIFEST = Digest("sha256:" + "a" * 64)
RUNTIMES = ("onnxruntime", "openvino")

MACHINE = 2**34
"""Bytes of memory that a test's machine has."""

BODIES = SlotBodies()
BODIES.open("cam")
"""Of this process, as an endpoint's: its descriptors stay as long as the process does."""

_RANDOM = np.random.default_rng(7)
WEIGHTS = _RANDOM.standard_normal((FEATURES, CLASSES)).astype(np.float32)
BIAS = _RANDOM.standard_normal(CLASSES).astype(np.float32)


def workplace(folder: StateFolder, groups: Groups | None = None) -> Workplace:
    """Where workers of a test begin; without limits, unless there are groups."""
    terms = Terms(Wish(), MACHINE)
    limits = groups or NoGroups("a test")
    return Workplace(folder, limits, terms, Footprints(folder, MACHINE), BODIES)


def linear_model(op: str = "Add") -> bytes:
    """y = x·W + b and its largest position, as an ONNX file; another `op` may be unknown."""
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["xw"]),
        helper.make_node(op, ["xw", "b"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", FEATURES])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", CLASSES]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
        ],
        [numpy_helper.from_array(WEIGHTS, "W"), numpy_helper.from_array(BIAS, "b")],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def long_model(products: int = PRODUCTS) -> bytes:
    """Answers as `linear_model` does, and makes many large products on the way that add nothing."""
    names = ["h0", *(f"h{number}" for number in range(1, products))]
    nodes = [
        helper.make_node("MatMul", ["x", "E"], ["h0"]),
        *(helper.make_node("MatMul", [given, "Q"], [made]) for given, made in pairwise(names)),
        helper.make_node("MatMul", [names[-1], "Z"], ["nothing"]),
        helper.make_node("MatMul", ["x", "W"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["y0"]),
        helper.make_node("Add", ["y0", "nothing"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    weights = {
        "E": np.eye(FEATURES, SIDE, dtype=np.float32),
        "Q": np.eye(SIDE, dtype=np.float32),
        "Z": np.zeros((SIDE, CLASSES), np.float32),
        "W": WEIGHTS,
        "b": BIAS,
    }
    graph = helper.make_graph(
        nodes,
        "long",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", FEATURES])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", CLASSES]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def rows(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Some input rows."""
    return np.random.default_rng(seed).standard_normal((count, FEATURES)).astype(np.float32)


def expected(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `linear_model` answers in its output y."""
    return inputs @ WEIGHTS + BIAS


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a view holds; the defaults prove themselves."""

    model: bytes
    runtime: str = "onnxruntime"
    precision: str = "fp32"
    accelerator: str = "cpu"
    golden_offset: float = 0.0

    @classmethod
    def good(cls, runtime: str = "onnxruntime") -> Recipe:
        """A model that proves itself."""
        return cls(linear_model(), runtime)


def deployment_of(recipe: Recipe) -> Deployment:
    """The deployment that goes with a recipe."""
    near = Tolerance(1e-4, 1e-4)
    variant = Variant(
        name="only",
        runtime=recipe.runtime,
        accelerator=recipe.accelerator,
        precision=recipe.precision,
        model="model.onnx",
        files=("model.onnx",),
        tolerance={"y": near, "label": Tolerance(0, 0)},
    )
    return Deployment(
        model="test/linear",
        inputs=(TensorSpec("x", DataType.FP32, (-1, FEATURES)),),
        outputs=(
            TensorSpec("y", DataType.FP32, (-1, CLASSES)),
            TensorSpec("label", DataType.INT64, (-1,)),
        ),
        variants=(variant,),
        golden=Golden(ROWS, {"x": "golden/x"}, {"y": "golden/y", "label": "golden/label"}),
    )


def lay_out(root: Path, recipe: Recipe) -> StateFolder:
    """Write a view folder and return the state that holds it."""
    folder = StateFolder(root)
    view = folder.view(MANIFEST)
    (view / "golden").mkdir(parents=True)
    (view / "deployment.json").write_bytes(encode_deployment(deployment_of(recipe)))
    (view / "model.onnx").write_bytes(recipe.model)
    inputs = rows(ROWS)
    answers = expected(inputs)
    (view / "golden" / "x").write_bytes(inputs.tobytes())
    (view / "golden" / "y").write_bytes((answers + np.float32(recipe.golden_offset)).tobytes())
    (view / "golden" / "label").write_bytes(answers.argmax(axis=1).astype("<i8").tobytes())
    return folder


def load_order(deadline_s: float = 60.0, variant: str = "only") -> Load:
    """What the supervisor would send."""
    return Load("cam", Pointer(ReleaseName("test/linear", 1), MANIFEST, variant), deadline_s)


def request(inputs: NDArray[np.float32], *outputs: str) -> Inference:
    """These rows, as a protocol would hand them over."""
    return Inference((Tensor("x", DataType.FP32, inputs.shape, inputs.tobytes()),), outputs)


async def answer_of(worker: Worker | Exchange, inference: Inference, timeout_s: float) -> Answer:
    """What a worker answers; raises the error that it gives instead."""
    answered: asyncio.Future[Answer | ServingError] = asyncio.get_running_loop().create_future()

    def tell(outcome: Answer | ServingError) -> None:
        if not answered.done():
            answered.set_result(outcome)

    take_back = worker.begin(inference, timeout_s, tell)
    try:
        outcome = await answered
    except asyncio.CancelledError:
        take_back()
        raise
    if isinstance(outcome, ServingError):
        raise outcome
    return outcome


def array_of(answer: tuple[Tensor, ...], name: str = "y") -> NDArray[np.float32]:
    """One output of an answer."""
    (tensor,) = (tensor for tensor in answer if tensor.name == name)
    return np.frombuffer(tensor.data, "<f4").reshape(tensor.shape)


def renamed(inference: Inference, name: str) -> Inference:
    """The same request, with another name for its input."""
    return inference._replace(inputs=(inference.inputs[0]._replace(name=name),))
