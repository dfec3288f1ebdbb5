"""Reads and writes gRPC messages of the Open Inference Protocol; the only reader of its types.

Pure. What a client sent wrongly raises InvalidInference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.types import DataType

from sealane_agent.oip import server_facts
from sealane_agent.oip.tensors import from_values, parse_datatype, parse_shape
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import Inference, InvalidInference, Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import TensorSpec

    from sealane_agent.serving.dataplane import Description, Listed

_CONTENTS: Final = {
    DataType.BOOL: "bool_contents",
    DataType.INT8: "int_contents",
    DataType.INT16: "int_contents",
    DataType.INT32: "int_contents",
    DataType.INT64: "int64_contents",
    DataType.UINT8: "uint_contents",
    DataType.UINT16: "uint_contents",
    DataType.UINT32: "uint_contents",
    DataType.UINT64: "uint64_contents",
    DataType.FP32: "fp32_contents",
    DataType.FP64: "fp64_contents",
    DataType.BYTES: "bytes_contents",
}
"""The field that carries a datatype's elements; FP16 travels only raw."""

_UNSUPPORTED: Final = ("shared_memory_region", "classification")


def decode_infer(request: wire.ModelInferRequest) -> Inference:
    """The request as the dataplane takes it."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInference(
            f"{len(request.inputs)} inputs come with {len(raw)} raw contents",
            hint="send one for each input, in order",
        )
    for described in request.inputs:
        _refuse_unsupported(described.parameters)
    for wanted in request.outputs:
        _refuse_unsupported(wanted.parameters)
    if raw:
        inputs = tuple(
            _raw_input(tensor, data) for tensor, data in zip(request.inputs, raw, strict=True)
        )
    else:
        inputs = tuple(_typed_input(tensor) for tensor in request.inputs)
    return Inference(inputs, tuple(output.name for output in request.outputs))


def _refuse_unsupported(parameters: Any) -> None:
    for name in _UNSUPPORTED:
        if name in parameters:
            raise InvalidInference(f"parameter {name!r} is not supported here")


def _raw_input(tensor: Any, data: bytes) -> Tensor:
    if tensor.HasField("contents"):
        raise InvalidInference(f"input {tensor.name!r} has raw contents and typed contents")
    return Tensor(
        tensor.name, parse_datatype(tensor.datatype), parse_shape(list(tensor.shape)), data
    )


def _typed_input(tensor: Any) -> Tensor:
    datatype, shape = parse_datatype(tensor.datatype), parse_shape(list(tensor.shape))
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidInference(f"input {tensor.name!r} is FP16", hint="send raw contents")
    return from_values(tensor.name, datatype, shape, list(getattr(tensor.contents, field)))


def encode_infer(
    request: wire.ModelInferRequest, version: int, outputs: tuple[Tensor, ...]
) -> wire.ModelInferResponse:
    """The response: outputs in raw contents, since stock clients read nothing else."""
    return wire.ModelInferResponse(
        model_name=request.model_name,
        model_version=str(version),
        id=request.id,
        outputs=[
            wire.ModelInferResponse.InferOutputTensor(
                name=tensor.name, datatype=tensor.datatype.value, shape=tensor.shape
            )
            for tensor in outputs
        ],
        raw_output_contents=[bytes(tensor.data) for tensor in outputs],
    )


def encode_server() -> wire.ServerMetadataResponse:
    """What the endpoint says about itself."""
    return wire.ServerMetadataResponse(
        name=server_facts.NAME, version=server_facts.VERSION, extensions=server_facts.EXTENSIONS
    )


def encode_model(model: Description) -> wire.ModelMetadataResponse:
    """What a client may know about a model."""
    return wire.ModelMetadataResponse(
        name=model.name,
        versions=[str(version) for version in model.versions],
        platform=model.runtime,
        inputs=_specs(model.deployment.inputs),
        outputs=_specs(model.deployment.outputs),
        properties={"model": model.deployment.model},
    )


def _specs(specs: Iterable[TensorSpec]) -> list[wire.ModelMetadataResponse.TensorMetadata]:
    return [
        wire.ModelMetadataResponse.TensorMetadata(
            name=spec.name, datatype=spec.datatype.value, shape=spec.shape
        )
        for spec in specs
    ]


def encode_index(listed: Iterable[Listed]) -> wire.RepositoryIndexResponse:
    """Every version of every model."""
    return wire.RepositoryIndexResponse(
        models=[
            wire.RepositoryIndexResponse.ModelIndex(
                name=item.name,
                version=str(item.version),
                state="READY" if item.ready else "UNAVAILABLE",
                reason=item.reason,
            )
            for item in listed
        ]
    )
