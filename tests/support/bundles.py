"""Makes tiny bundles without a runtime: y = x · W + version, four numbers in, three out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sealane.bundle.deployment import encode_deployment
from sealane.bundle.layout import write_layout
from sealane.bundle.manifest import (
    CONFIG_PATH,
    DATASET,
    DEPLOYMENT_PATH,
    MODEL_CONFIG,
    WEIGHT,
    WEIGHT_CONFIG,
    digest_of,
    encode_config,
    encode_manifest,
)
from sealane.bundle.types import (
    DataType,
    Deployment,
    Golden,
    Layer,
    Manifest,
    ProbationLimits,
    TensorSpec,
    Tolerance,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy.typing as npt

TINY_MODEL = "demo/tiny"
GOLDEN_ROWS = 4
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
ROWS = np.linspace(-1, 1, GOLDEN_ROWS * 4, dtype=np.float32).reshape(GOLDEN_ROWS, 4)


def tiny_answer(rows: npt.NDArray[np.float32], version: int = 1) -> npt.NDArray[np.float32]:
    """What the tiny model of this version answers."""
    return (rows @ WEIGHTS + np.float32(version)).astype(np.float32)


def tiny_onnx(version: int = 1) -> bytes:
    """The tiny model as an ONNX file: input `x` FP32 [-1,4], output `y` FP32 [-1,3]."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weights"], ["product"]),
            helper.make_node("Add", ["product", "version"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(WEIGHTS, "weights"),
            numpy_helper.from_array(np.array([version], np.float32), "version"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_deployment(probation: ProbationLimits | None = None) -> Deployment:
    """The contract of the tiny model."""
    return Deployment(
        model=TINY_MODEL,
        inputs=(TensorSpec("x", DataType.FP32, (-1, 4)),),
        outputs=(TensorSpec("y", DataType.FP32, (-1, 3)),),
        variants=(
            Variant(
                name="onnx-fp32",
                runtime="onnxruntime",
                accelerator="cpu",
                precision="fp32",
                model="onnx-fp32/model.onnx",
                files=("onnx-fp32/model.onnx",),
                tolerance={"y": Tolerance(atol=1e-4, rtol=1e-4)},
            ),
        ),
        golden=Golden(GOLDEN_ROWS, {"x": "golden/input/x.bin"}, {"y": "golden/output/y.bin"}),
        probation=probation or ProbationLimits(),
    )


def with_variants(deployment: Deployment, names: Iterable[str]) -> Deployment:
    """A contract whose only variant is there several times, under these names."""
    (only,) = deployment.variants
    return replace(deployment, variants=tuple(replace(only, name=name) for name in names))


def tiny_files(version: int = 1, deployment: Deployment | None = None) -> dict[str, bytes]:
    """Every file of the tiny bundle except its config."""
    return {
        DEPLOYMENT_PATH: encode_deployment(deployment or tiny_deployment()),
        "onnx-fp32/model.onnx": tiny_onnx(version),
        "golden/input/x.bin": ROWS.tobytes(),
        "golden/output/y.bin": tiny_answer(ROWS, version).tobytes(),
    }


def manifest_of(files: Mapping[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest of any files, whatever they say, and the contents that a layout needs."""
    layers = [Layer(path, _media_type(path), *_measured(data)) for path, data in files.items()]
    config = encode_config(TINY_MODEL, layers)
    manifest = encode_manifest(Layer(CONFIG_PATH, MODEL_CONFIG, *_measured(config)), layers)
    return manifest, {**files, CONFIG_PATH: config}


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write any files as a bundle, whatever they say; returns the folder of the layout."""
    write_layout(folder, *manifest_of(files))
    return folder


def tiny_manifest(version: int = 1) -> Manifest:
    """The manifest of the tiny bundle."""
    return manifest_of(tiny_files(version))[0]


def tiny_contents(version: int = 1) -> dict[str, bytes]:
    """Every file of the tiny bundle with its config."""
    return manifest_of(tiny_files(version))[1]


def tiny_bundle(folder: Path, version: int = 1, probation: ProbationLimits | None = None) -> Path:
    """Write the tiny bundle of this version; returns the folder of its layout."""
    return write_bundle(folder, tiny_files(version, tiny_deployment(probation)))


def _measured(content: bytes) -> tuple[Any, int]:
    return digest_of(content), len(content)


def _media_type(path: str) -> str:
    if path == DEPLOYMENT_PATH:
        return WEIGHT_CONFIG
    return DATASET if path.startswith("golden/") else WEIGHT
