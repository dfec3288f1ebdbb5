"""Runs a model once, on the CPU, to make or to check golden outputs; the engines are optional.

Both engines would phone home when imported; that is switched off here, before the import.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sealane.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    Tensors = Mapping[str, npt.NDArray[Any]]

_LIBRARIES = ("numpy", "onnx", "onnxruntime")
_BFLOAT16 = 16
_SOURCE_PLACES = ("Exception from ", "Check '")
_OPENVINO_PRECISION = {"fp16": ("FP16", "f16"), "bf16": ("BF16", "bf16")}


def require() -> None:
    """Raise BundleError with the exact command when packing's libraries are missing."""
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise BundleError(
            f"packing needs {' and '.join(missing)}",
            hint="pip install 'sealane-manager[pack]'",
        )


def is_installed(runtime: str) -> bool:
    """Whether this machine can run models of that runtime."""
    return runtime in _RUNTIMES and importlib.util.find_spec(runtime) is not None


def run(runtime: str, model: Path, inputs: Tensors, precision: str) -> Tensors:
    """Answer the inputs as a device would, or raise BundleError."""
    with _refusals(runtime, model):
        return _RUNTIMES[runtime](model, inputs, precision)


def run_reference(model: Path, inputs: Tensors) -> Tensors:
    """Answer the inputs by onnxruntime without any optimisation, or raise BundleError."""
    with _refusals("onnxruntime", model):
        return _run_onnx(model, inputs, optimised=False)


@contextmanager
def _refusals(runtime: str, model: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # engines raise classes of their own, without a common root
        raise BundleError(
            f"{runtime} cannot run {model.name}: {_reason(error)}",
            hint="export the model again, for operators that the runtime has",
        ) from error


def _reason(error: Exception) -> str:
    """What an engine says, in one line, without the places in its source."""
    lines = (line.strip() for line in str(error).splitlines())
    told = [line for line in lines if line and not line.startswith(_SOURCE_PLACES)]
    return " ".join(told)[:300] or type(error).__name__


def _run_onnxruntime(model: Path, inputs: Tensors, _precision: str) -> Tensors:
    return _run_onnx(model, inputs, optimised=True)


def _run_onnx(model: Path, inputs: Tensors, *, optimised: bool) -> Tensors:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    session = ort.InferenceSession(
        os.fspath(model), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    names = [str(output.name) for output in session.get_outputs()]
    ports = (*session.get_inputs(), *session.get_outputs())
    halves = {str(port.name) for port in ports if port.type == "tensor(bfloat16)"}
    if not halves:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))
    make = ort.OrtValue
    given = {
        name: make.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
        if name in halves
        else make.ortvalue_from_numpy(array)
        for name, array in inputs.items()
    }
    answers = zip(names, session.run_with_ort_values(names, given), strict=True)
    return {name: _bits(value) if name in halves else value.numpy() for name, value in answers}


def _bits(value: Any) -> npt.NDArray[Any]:
    """BF16 as its bits: numpy has no such type."""
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    bits: npt.NDArray[Any] = importlib.import_module("numpy").frombuffer(content, "<u2")
    return bits.reshape(value.shape())


def _run_openvino(model: Path, inputs: Tensors, precision: str) -> Tensors:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None blocks it
    openvino = importlib.import_module("openvino")
    core = openvino.Core()
    needed, hint = _OPENVINO_PRECISION.get(precision, ("FP32", "f32"))
    if needed not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        hint = "f32"
    compiled = core.compile_model(os.fspath(model), "CPU", {"INFERENCE_PRECISION_HINT": hint})
    request = compiled.create_infer_request()
    half = openvino.Type.bf16
    types = {name: port.element_type for port in compiled.inputs for name in port.get_names()}
    request.infer(
        {
            name: openvino.Tensor(array, openvino.Shape(array.shape), half)
            if types.get(name) == half
            else array
            for name, array in inputs.items()
        }
    )
    return {
        name: found.view("<u2") if output.element_type == half else found
        for output in compiled.outputs
        for name in output.get_names()
        for found in (request.get_tensor(name).data.copy(),)
    }


_RUNTIMES = {"onnxruntime": _run_onnxruntime, "openvino": _run_openvino}
