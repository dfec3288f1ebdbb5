"""The ONNX project's own operator tests as bundles, each served by a worker in this process.

A case has tensors of any shape, a bundle's tensors begin with rows: so each case is wrapped, and
its one row is taken off before the operator and put on behind it. A request goes through all that
one to a real worker goes through, REST door, contract, ring and responder, but for the process.
"""

from __future__ import annotations

import asyncio
import json
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests
from sealane.bundle.deployment import encode_deployment, parse_deployment
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.golden import largest_deviation
from sealane.bundle.types import (
    DataType,
    Deployment,
    Golden,
    TensorSpec,
    Tolerance,
    Variant,
)
from sealane.names import Digest, ReleaseName, SlotName
from sealane_agent.layout import Pointer, StateFolder
from sealane_agent.oip.extensions import Extensions
from sealane_agent.oip.http_reader import Head, Request
from sealane_agent.oip.peers import user_of
from sealane_agent.oip.regions import Regions
from sealane_agent.oip.rest import RestDoor
from sealane_agent.oip.rest_pages import RestPages
from sealane_agent.runtimes.base import Hints
from sealane_agent.runtimes.registry import find_runtime
from sealane_agent.serving.dataplane import Dataplane
from sealane_agent.serving.exchange import Exchange
from sealane_agent.serving.geometry import geometry_for
from sealane_agent.serving.messages import Proved
from sealane_agent.serving.ring import Ring
from sealane_agent.serving.types import WorkerDied
from sealane_agent.worker.proof import largest_error, read_golden
from sealane_agent.worker.service import Responder

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane_agent.runtimes.base import Model
    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.totals import Totals
    from sealane_agent.serving.types import Answer, Inference, ServingError

    Arrays = Mapping[str, NDArray[Any]]

SLOT: Final = SlotName("op")
DATATYPES: Final = {dtype: datatype for datatype, dtype in NUMPY_TYPES.items()}
_AXES_ARE_AN_INPUT: Final = 13


class NotServable(Exception):  # noqa: N818 - the word says what it is
    """A case that no bundle can hold, and why."""


@dataclass(frozen=True)
class Case:
    """One operator with inputs and the outputs that the ONNX project computed."""

    name: str
    model: bytes
    inputs: Arrays
    outputs: Arrays
    tolerance: Tolerance


@cache
def all_cases() -> tuple[Any, ...]:
    """Every operator test, as the `onnx` package has it."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # it computes infinities on purpose
        return tuple(load_model_tests(kind="node"))


def wrapped(test: Any) -> Case:
    """The test as a model whose tensors begin with one row; raises NotServable."""
    if not test.data_sets:
        raise NotServable("it comes without data")
    given, wanted = test.data_sets[0]
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    graph = model.graph
    inputs = _tensors(graph.input, given)
    outputs = _tensors(graph.output, wanted)
    if not inputs or not outputs:
        raise NotServable("it has no input or no output")
    _wrap(model)
    return Case(
        test.name,
        model.SerializeToString(),
        {f"row_{name}": array[None] for name, array in inputs.items()},
        {f"row_{name}": array[None] for name, array in outputs.items()},
        Tolerance(max(test.atol, 1e-6), test.rtol),
    )


def _tensors(values: Any, data: Any) -> dict[str, NDArray[Any]]:
    if len(values) != len(data):
        raise NotServable("an optional tensor is left out")
    found = {}
    for value, content in zip(values, data, strict=True):
        if value.type.WhichOneof("value") != "tensor_type" or isinstance(content, list):
            raise NotServable("it holds sequences or optional values")
        if isinstance(content, onnx.TensorProto):
            content = numpy_helper.to_array(content)  # noqa: PLW2901 - the same content, read
        tensor = np.asarray(content)
        if tensor.dtype not in DATATYPES:
            raise NotServable(f"its {tensor.dtype} cannot be served")
        found[value.name] = np.ascontiguousarray(tensor).reshape(tensor.shape)
    return found


def _wrap(model: Any) -> None:
    """Around what is there: only the names that a client sees are new."""
    graph, opset = model.graph, _opset(model)
    before = [_row("Squeeze", f"row_{each.name}", each.name, opset) for each in graph.input]
    after = [_row("Unsqueeze", each.name, f"row_{each.name}", opset) for each in graph.output]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    if opset >= _AXES_ARE_AN_INPUT:
        graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "first_axis"))
    for value in (*graph.input, *graph.output):
        tensor = value.type.tensor_type
        sizes = [1, *(size.dim_value or size.dim_param or None for size in tensor.shape.dim)]
        kind = tensor.elem_type
        value.CopyFrom(helper.make_tensor_value_info(f"row_{value.name}", kind, sizes))


def _opset(model: Any) -> int:
    for known in model.opset_import:
        if known.domain in ("", "ai.onnx"):
            return int(known.version)
    model.opset_import.append(helper.make_opsetid("", 17))
    return 17


def _row(kind: str, source: str, target: str, opset: int) -> Any:
    if opset >= _AXES_ARE_AN_INPUT:
        return helper.make_node(kind, [source, "first_axis"], [target])
    return helper.make_node(kind, [source], [target], axes=[0])


def contract(case: Case, runtime: str) -> Deployment:
    """The deployment of a case, read back as a device reads it."""
    deployment = Deployment(
        model="onnx/operator",
        inputs=tuple(_spec(name, array) for name, array in case.inputs.items()),
        outputs=tuple(_spec(name, array) for name, array in case.outputs.items()),
        variants=(
            Variant(
                "only",
                runtime,
                "cpu",
                "fp32",
                "model.onnx",
                ("model.onnx",),
                dict.fromkeys(case.outputs, case.tolerance),
            ),
        ),
        golden=Golden(
            1,
            {name: f"in/{number}" for number, name in enumerate(case.inputs)},
            {name: f"out/{number}" for number, name in enumerate(case.outputs)},
        ),
    )
    return parse_deployment(encode_deployment(deployment))


def _spec(name: str, array: NDArray[Any]) -> TensorSpec:
    return TensorSpec(name, DATATYPES[array.dtype], array.shape)


def lay_out(folder: StateFolder, case: Case, deployment: Deployment) -> Pointer:
    """Write the bundle's files; what the slot shall serve."""
    digest = Digest(f"sha256:{abs(hash(case.name)):064x}")
    pointer = Pointer(ReleaseName(deployment.model, 1), digest, "only")
    view = folder.view(digest)
    files = {deployment.golden.inputs[n]: a for n, a in case.inputs.items()}
    files |= {deployment.golden.outputs[n]: a for n, a in case.outputs.items()}
    for path, content in files.items():
        (view / path).parent.mkdir(parents=True, exist_ok=True)
        (view / path).write_bytes(content.tobytes())
    (view / "model.onnx").write_bytes(case.model)
    return pointer


class InlineWorker:
    """Implements `types.Worker`: both ends of a real ring, the model in this process."""

    def __init__(self, load: Load, deployment: Deployment, model: Model) -> None:
        self.pointer, self.deployment, self.alive = load.pointer, deployment, True
        self.degraded = ""
        self._ring = Ring.create(geometry_for(deployment))
        self._ring.open_hands(1)
        self._exchange = Exchange(self._ring, deployment, self._stuck)
        self._responder = Responder(model, deployment)

    @property
    def name(self) -> str:
        """There is one."""
        return "inline"

    @property
    def proved(self) -> Proved:
        """It was, by who made it."""
        return Proved("inline", "", 0.0, 1000, 0, 0)

    @property
    def broke(self) -> str:
        """It has no limit."""
        return ""

    peak_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Its memory is this process's."""
        return 0

    def begin(
        self, inference: Inference, timeout_s: float, done: Callable[[Answer | ServingError], None]
    ) -> Callable[[], None]:
        """Put it into the ring, and play the worker."""
        take_back = self._exchange.begin(inference, timeout_s, done)
        while (number := self._ring.requests.take()) is not None:
            self._ring.begin_work(number)
            self._responder.respond(number, self._ring.slot(number))
            self._ring.end_work()
            self._ring.answers.put(number)
        return take_back

    def stand_by(self, *, stands_by: bool) -> None:
        """It has no process of its own."""

    def record_times(self, totals: Totals, waits: array[float] | None) -> None:
        """As the real one."""
        self._exchange.totals, self._exchange.waits = totals, waits

    async def close(self, drain_s: float) -> None:
        """Let go of the ring."""
        del drain_s
        if self.alive:
            self.alive = False
            self._exchange.fail_all(lambda: WorkerDied("it was closed"))
            self._exchange.close()

    def _stuck(self, why: str) -> None:
        raise AssertionError(why)


async def serve(case: Case, runtime: str, root: Path) -> None:
    """Load, prove, and ask over REST; raises what went wrong."""
    folder, deployment = StateFolder(root), contract(case, runtime)
    pointer = lay_out(folder, case, deployment)
    view, (variant,) = folder.view(pointer.manifest), deployment.variants
    hints = Hints(tuple(spec.name for spec in deployment.outputs), threads=1)
    model = find_runtime(runtime).load(view / variant.model, hints)
    largest_error(model, read_golden(deployment, view), variant)

    async def start(name: str, load: Load) -> InlineWorker:
        del name
        return InlineWorker(load, deployment, model)

    dataplane = Dataplane(start)
    slot = dataplane.open(SLOT)
    slot.begin(pointer)
    await slot.settled()
    door = RestDoor(dataplane, RestPages(Extensions(dataplane, Regions(user_of, allowed=False))))
    try:
        await _ask(door, case)
    finally:
        await dataplane.close(0)
        await asyncio.sleep(0)


async def _ask(door: RestDoor, case: Case) -> None:
    """One request with tensors as bytes; the answer is what the ONNX project says."""
    described = [
        {
            "name": name,
            "datatype": DATATYPES[array.dtype].value,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in case.inputs.items()
    ]
    head = json.dumps({"inputs": described, "parameters": {"binary_data_output": True}}).encode()
    body = head + b"".join(array.tobytes() for array in case.inputs.values())
    named = {b"inference-header-content-length": str(len(head)).encode()}
    request = Request(Head("POST", f"/v2/models/{SLOT}/infer", named), body)
    response = await door.answer(request)
    parts = [bytes(part) for part in response.parts]
    if response.status != 200:
        raise AssertionError(parts[0].decode())
    answer = json.loads(parts[0])
    for said, content in zip(answer["outputs"], parts[1:], strict=True):
        want = case.outputs[said["name"]]
        datatype = NUMPY_TYPES[DataType(said["datatype"])]
        got = np.frombuffer(content, datatype).reshape(said["shape"])
        same, deviation = largest_deviation(got, want, case.tolerance)
        if not same:
            raise AssertionError(f"{said['name']} is off by {deviation:.3g}")
