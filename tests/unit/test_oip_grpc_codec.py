from __future__ import annotations

import struct
from typing import Any

import pytest
from sealane.bundle.types import DataType
from sealane_agent.oip import grpc_codec
from sealane_agent.oip.parameters import PLAIN
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.types import Inference, InvalidInference, Tensor


def request(datatype: str, shape: list[int], **contents: Any) -> wire.ModelInferRequest:
    message = wire.ModelInferRequest(model_name="cam", id="7")
    message.inputs.add(
        name="x",
        datatype=datatype,
        shape=shape,
        contents=wire.InferTensorContents(**contents) if contents else None,
    )
    return message


def nowhere(name: str) -> Any:
    raise InvalidInference(f"no region {name}")


def decode(message: wire.ModelInferRequest) -> Inference:
    return grpc_codec.decode_infer(message, nowhere).inference


def test_raw_contents_become_tensors_in_order() -> None:
    message = wire.ModelInferRequest(raw_input_contents=[b"\1\2", b"\3"])
    message.inputs.add(name="a", datatype="UINT8", shape=[2])
    message.inputs.add(name="b", datatype="INT8", shape=[1])
    message.outputs.add(name="y")
    inference = decode(message)
    assert inference.inputs == (
        Tensor("a", DataType.UINT8, (2,), b"\1\2"),
        Tensor("b", DataType.INT8, (1,), b"\3"),
    )
    assert inference.outputs == ("y",)


@pytest.mark.parametrize(
    ("datatype", "contents", "raw"),
    [
        ("BOOL", {"bool_contents": [True, False]}, b"\1\0"),
        ("INT8", {"int_contents": [-1, 2]}, b"\xff\2"),
        ("INT16", {"int_contents": [-1, 2]}, struct.pack("<2h", -1, 2)),
        ("INT32", {"int_contents": [-1, 2]}, struct.pack("<2i", -1, 2)),
        ("INT64", {"int64_contents": [-1, 2]}, struct.pack("<2q", -1, 2)),
        ("UINT8", {"uint_contents": [255, 2]}, b"\xff\2"),
        ("UINT16", {"uint_contents": [1, 2]}, struct.pack("<2H", 1, 2)),
        ("UINT32", {"uint_contents": [1, 2]}, struct.pack("<2I", 1, 2)),
        ("UINT64", {"uint64_contents": [2**63, 2]}, struct.pack("<2Q", 2**63, 2)),
        ("FP32", {"fp32_contents": [0.5, float("inf")]}, struct.pack("<2f", 0.5, float("inf"))),
        ("FP64", {"fp64_contents": [0.1, 2]}, struct.pack("<2d", 0.1, 2)),
        ("BYTES", {"bytes_contents": [b"ab", b""]}, b"\2\0\0\0ab\0\0\0\0"),
    ],
)
def test_typed_contents_become_raw_ones(datatype: str, contents: Any, raw: bytes) -> None:
    (tensor,) = decode(request(datatype, [2], **contents)).inputs
    assert tensor == Tensor("x", DataType(datatype), (2,), raw)


def with_raw(message: wire.ModelInferRequest, *raw: bytes) -> wire.ModelInferRequest:
    message.raw_input_contents.extend(raw)
    return message


def with_shared_memory(message: wire.ModelInferRequest) -> wire.ModelInferRequest:
    message.inputs[0].parameters["shared_memory_region"].string_param = "region"
    return message


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (with_raw(request("FP32", [1]), b"abcd", b"abcd"), "1 inputs come with 2 raw contents"),
        (with_raw(request("FP32", [1], fp32_contents=[1]), b"abcd"), "and typed contents"),
        (request("FP16", [1]), "is FP16"),
        (request("INT8", [1], int_contents=[300]), "out of range for INT8"),
        (request("TEXT", [1]), "'TEXT' is not a datatype"),
        (request("FP32", [-1]), "every size in a shape"),
        (request("FP32", [1] * 17), "a shape is a list of at most 16 sizes"),
        (with_shared_memory(request("FP32", [1])), "comes with shared_memory_byte_size"),
    ],
)
def test_what_a_client_does_wrong_is_said(message: wire.ModelInferRequest, text: str) -> None:
    with pytest.raises(InvalidInference, match=text):
        decode(message)


def test_outputs_travel_in_raw_contents_with_the_release_number() -> None:
    outputs = (Tensor("y", DataType.FP32, (1, 2), memoryview(b"12345678")),)
    answer = grpc_codec.encode_infer(grpc_codec.Computed("cam", 7, "7"), outputs, PLAIN)
    assert (answer.model_name, answer.model_version, answer.id) == ("cam", "7", "7")
    assert list(answer.raw_output_contents) == [b"12345678"]
    assert list(answer.outputs[0].shape) == [1, 2]
    assert not answer.outputs[0].HasField("contents")
