"""Reads and writes gRPC messages of the Open Inference Protocol; the only reader of its types.

Pure. What a client sent wrongly raises InvalidInference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from google.protobuf.json_format import ParseDict
from google.protobuf.message import DecodeError
from sealane.bundle.types import DataType

from sealane_agent.oip.parameters import read_outputs, read_place, read_request
from sealane_agent.oip.tensors import from_values, parse_datatype, parse_shape
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import Inference, InvalidInference, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealane_agent.oip.parameters import Source, Wanted, Wish

    Find = Callable[[str], Source]

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
"""The field that carries a datatype's elements; FP16 and BF16 travel only raw."""


class GrpcInference(NamedTuple):
    """One request, and in which form its outputs are wanted."""

    inference: Inference
    wish: Wish
    wanted: Wanted


class Computed(NamedTuple):
    """Which model, in which version and part of a split, computed the answer to which request."""

    model: str
    version: int
    request_id: str = ""
    arm: str | None = None


def parse_infer(message: bytes) -> wire.ModelInferRequest:
    """A message as it came."""
    try:
        return wire.ModelInferRequest.FromString(message)
    except DecodeError:
        raise InvalidInference("the message is not a ModelInferRequest") from None


def decode_infer(request: wire.ModelInferRequest, find: Find) -> GrpcInference:
    """The request as the dataplane takes it; `find` finds shared memory."""
    wanted = read_request(values(request.parameters))
    outputs = {output.name: values(output.parameters) for output in request.outputs}
    inputs = _Inputs(request.raw_input_contents, find)
    tensors = tuple(inputs.read(tensor) for tensor in request.inputs)
    inputs.finish()
    return GrpcInference(
        Inference(tensors, tuple(output.name for output in request.outputs)),
        read_outputs(outputs, binary=True),
        wanted,
    )


def values(parameters: Any) -> dict[str, Any]:
    """Parameters as plain values."""
    return {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "bool_param")
        for name, parameter in parameters.items()
    }


class _Inputs:
    """Hands out raw contents in order: one for each input that names no shared memory."""

    def __init__(self, raw: Sequence[bytes], find: Find) -> None:
        self._raw, self._find, self._taken = raw, find, 0

    def read(self, tensor: Any) -> Tensor:
        place = read_place(values(tensor.parameters))
        if place is not None:
            content = self._find(place.region).read(place.offset, place.size)
            return _raw_input(tensor, content)
        if not self._raw:
            return _typed_input(tensor)
        self._taken += 1
        if self._taken > len(self._raw):
            self.finish()
        return _raw_input(tensor, self._raw[self._taken - 1])

    def finish(self) -> None:
        if self._raw and self._taken != len(self._raw):
            raise InvalidInference(
                f"{self._taken} inputs come with {len(self._raw)} raw contents",
                hint="send one for each input, in order",
            )


def _raw_input(tensor: Any, data: bytes | memoryview) -> Tensor:
    if tensor.HasField("contents"):
        raise InvalidInference(f"input {tensor.name!r} has raw contents and typed contents")
    return Tensor(
        tensor.name, parse_datatype(tensor.datatype), parse_shape(list(tensor.shape)), data
    )


def _typed_input(tensor: Any) -> Tensor:
    datatype, shape = parse_datatype(tensor.datatype), parse_shape(list(tensor.shape))
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidInference(f"input {tensor.name!r} is {datatype}", hint="send raw contents")
    return from_values(tensor.name, datatype, shape, list(getattr(tensor.contents, field)))


def encode_infer(
    answer: Computed, outputs: tuple[Tensor, ...], wish: Wish
) -> wire.ModelInferResponse:
    """The response: outputs in raw contents, since stock clients read nothing else."""
    response = wire.ModelInferResponse(
        model_name=answer.model,
        model_version=str(answer.version),
        id=answer.request_id,
        outputs=[
            wire.ModelInferResponse.InferOutputTensor(
                name=tensor.name, datatype=tensor.datatype.value, shape=tensor.shape
            )
            for tensor in outputs
        ],
        # Also of what lies in shared memory, then empty: stock clients count on their places.
        raw_output_contents=[bytes(tensor.data) for tensor in outputs],
    )
    if answer.arm is not None:
        response.parameters["arm"].string_param = answer.arm
    for described, tensor in zip(response.outputs, outputs, strict=True):
        place = wish.places.get(tensor.name)
        if place is not None:
            described.parameters["shared_memory_region"].string_param = place.region
            described.parameters["shared_memory_byte_size"].int64_param = place.size
            if place.offset:
                described.parameters["shared_memory_offset"].int64_param = place.offset
    return response


def encode(content: Any, message: Any) -> Any:
    """A message from the JSON object that says the same."""
    return ParseDict(content, message)
