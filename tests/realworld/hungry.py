"""A model that takes eight megabytes for each row it is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

TIMES = 32_768
ROWS = 64


def hungry_model(folder: Path) -> tuple[Path, Path]:
    """The model and typical inputs of one row."""
    graph = helper.make_graph(
        [
            helper.make_node("Tile", ["pixels", "times"], ["wide"]),
            helper.make_node("ReduceMax", ["wide"], ["largest"], axes=[1], keepdims=1),
        ],
        "hungry",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("largest", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(np.array([1, TIMES]), "times")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path, data = folder / "hungry.onnx", folder / "hungry.npz"
    onnx.save(model, path)
    np.savez(data, pixels=np.ones((1, 64), dtype=np.float32))
    return path, data
