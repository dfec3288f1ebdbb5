"""Reads an ONNX file that nobody trusts: is it one, what goes in and out, which files it needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from sealane.bundle.manifest import check_path
from sealane.bundle.types import DataType, TensorSpec
from sealane.errors import BundleError
from sealane.limits import GIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ONNX_BYTES: Final = 2 * GIB - 1
"""What protobuf can hold; larger models keep their weights in external data."""

DATATYPES: Final = {
    TensorProto.BOOL: DataType.BOOL,
    TensorProto.UINT8: DataType.UINT8,
    TensorProto.UINT16: DataType.UINT16,
    TensorProto.UINT32: DataType.UINT32,
    TensorProto.UINT64: DataType.UINT64,
    TensorProto.INT8: DataType.INT8,
    TensorProto.INT16: DataType.INT16,
    TensorProto.INT32: DataType.INT32,
    TensorProto.INT64: DataType.INT64,
    TensorProto.FLOAT16: DataType.FP16,
    TensorProto.FLOAT: DataType.FP32,
    TensorProto.DOUBLE: DataType.FP64,
    TensorProto.BFLOAT16: DataType.BF16,
    TensorProto.STRING: DataType.BYTES,
}

_KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_QUANTISED: Final = ("QuantizeLinear", "DequantizeLinear", "QLinear", "Integer")
_ONE_SIZE: Final = "fix the free dimensions with onnxruntime.tools.make_dynamic_shape_fixed"


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """What an ONNX file says.

    Attributes:
        path: the file.
        external: further files it needs, relative to its folder.
        precision: `fp32`, `fp16`, `bf16` or `int8`, as its weights and operators tell.
        opset, ir_version: of ONNX, that an engine must know.
    """

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    external: tuple[str, ...]
    precision: str
    opset: int = 0
    ir_version: int = 0


def read_model(path: Path) -> OnnxModel:
    """Read and check an ONNX file, or raise BundleError."""
    model = _load(path)
    graphs = list(_graphs(model.graph))
    nodes = [node for graph in graphs for node in graph.node]
    tensors = [*chain.from_iterable(graph.initializer for graph in graphs), *_constants(nodes)]
    _check_domains(path, model, nodes)
    external = _external_files(path, tensors)
    _check_rules(path)
    inputs, outputs = _signature(path, model)
    precision = _precision(nodes, tensors)
    return OnnxModel(
        path, inputs, outputs, external, precision, _opset(model), int(model.ir_version)
    )


def _opset(model: Any) -> int:
    """Of the standard operators; the others' numbers mean something else."""
    own = [item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}]
    return int(max(own, default=0))


def _load(path: Path) -> Any:
    if not path.is_file():
        raise BundleError(f"{path} is not a file", hint="give the path of an .onnx file")
    size = path.stat().st_size
    if size > ONNX_BYTES:
        raise BundleError(
            f"{path} is {size} bytes, and an ONNX file has at most {ONNX_BYTES}",
            hint="save the weights as external data",
        )
    try:
        return onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{path} is not an ONNX file, or a part of one", hint=_EXPORT) from error


_EXPORT: Final = "export the model again and compare the file sizes"


def _check_rules(path: Path) -> None:
    try:
        onnx.checker.check_model(path)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise BundleError(f"{path} is not a valid ONNX model: {reason}", hint=_EXPORT) from error


def _graphs(graph: Any) -> Iterator[Any]:
    """The graph and every graph inside its nodes."""
    pending = [graph]
    while pending:
        current = pending.pop()
        yield current
        for attribute in chain.from_iterable(node.attribute for node in current.node):
            pending.extend([attribute.g] if attribute.HasField("g") else attribute.graphs)


def _constants(nodes: Iterable[Any]) -> Iterator[Any]:
    for attribute in chain.from_iterable(node.attribute for node in nodes):
        yield from [attribute.t] if attribute.HasField("t") else attribute.tensors


def _check_domains(path: Path, model: Any, nodes: Iterable[Any]) -> None:
    own = {function.domain for function in model.functions}
    inner = chain.from_iterable(function.node for function in model.functions)
    for node in chain(nodes, inner):
        if node.domain not in _KNOWN_DOMAINS | own:
            raise BundleError(
                f"{path} needs the custom operator {node.domain[:60]}.{node.op_type[:60]}",
                hint="export with standard operators: devices load no operator libraries",
            )


def _external_files(path: Path, tensors: Iterable[Any]) -> tuple[str, ...]:
    found = set()
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            named = {entry.key: entry.value for entry in tensor.external_data}
            found.add(_inside(path, named.get("location", "")))
    return tuple(sorted(found))


def _inside(path: Path, location: str) -> str:
    folder = path.resolve().parent
    try:
        file = folder / check_path(location)
    except BundleError as error:
        raise BundleError(f"{path} keeps weights in {location[:80]!r}", hint=error.hint) from error
    if file.resolve() != file or not file.is_file():
        raise BundleError(
            f"{path} keeps weights in {location[:80]!r}, which is not a file of its folder",
            hint="copy the file itself, not a link, beside the model",
        )
    return location


def _signature(path: Path, model: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if not inputs or not graph.output:
        raise BundleError(f"{path} has no input or no output")
    return tuple(map(_spec, inputs)), tuple(map(_spec, graph.output))


def _spec(value: Any) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        raise BundleError(
            f"{value.name} is a {str(kind).removesuffix('_type')}, not a tensor",
            hint="export without ZipMap, e.g. skl2onnx with options={'zipmap': False}",
        )
    tensor = value.type.tensor_type
    if tensor.elem_type not in DATATYPES:
        name = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise BundleError(f"{value.name} holds {name}, which cannot be served", hint="use numbers")
    if not tensor.shape.dim:
        raise BundleError(
            f"{value.name} has no batch dimension", hint="export with a free first dimension"
        )
    shape = tuple(size.dim_value or -1 for size in tensor.shape.dim)
    if shape[1:].count(-1) > 1:
        raise BundleError(f"{value.name} has several free dimensions: {shape}", hint=_ONE_SIZE)
    return TensorSpec(value.name, DATATYPES[tensor.elem_type], shape)


def _precision(nodes: Iterable[Any], tensors: Iterable[Any]) -> str:
    if any(word in node.op_type for node in nodes for word in _QUANTISED):
        return "int8"
    kinds = {tensor.data_type for tensor in tensors}
    if TensorProto.BFLOAT16 in kinds:
        return "bf16"
    return "fp16" if TensorProto.FLOAT16 in kinds else "fp32"
