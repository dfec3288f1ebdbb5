"""Writes small ONNX files, good ones and ones with a named defect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.bundles import WEIGHTS, tiny_onnx

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = TensorProto.FLOAT


def write_tiny(folder: Path, version: int = 1) -> Path:
    """The tiny model; see `support.bundles`."""
    path = folder / "tiny.onnx"
    path.write_bytes(tiny_onnx(version))
    return path


def write_data(folder: Path, arrays: dict[str, Any] | None = None) -> Path:
    """A .npz with `x` FP32 [100,4], or with the given arrays."""
    path = folder / "data.npz"
    x = np.linspace(-1, 1, 400, dtype=np.float32).reshape(100, 4)
    np.savez(path, **(arrays or {"x": x}))
    return path


def write_half(folder: Path) -> Path:
    """The tiny model with fp16 weights inside, and fp32 outside."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "weights"], ["product"]),
        helper.make_node("Add", ["product", "version"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=FLOAT),
    ]
    weights = {"weights": WEIGHTS.astype(np.float16), "version": np.ones(1, np.float16)}
    return write_graph(folder / "half.onnx", nodes, weights)


def write_graph(path: Path, nodes: list[Any], weights: dict[str, Any], **options: Any) -> Path:
    """A model of these nodes from `x` to `y`; nothing is checked.

    Options: `inputs` and `outputs` as value infos, `domains` as further operator sets.
    """
    graph = helper.make_graph(
        nodes,
        "graph",
        options.get("inputs") or [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
        options.get("outputs") or [helper.make_tensor_value_info("y", FLOAT, ["batch", 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    opsets += [helper.make_opsetid(domain, 1) for domain in options.get("domains", ())]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def write_external(folder: Path, location: str) -> Path:
    """The tiny model with its weights in another file, named as given."""
    model = onnx.load_from_string(tiny_onnx())
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.ClearField("raw_data")
    path = folder / "external.onnx"
    path.write_bytes(model.SerializeToString())
    return path
