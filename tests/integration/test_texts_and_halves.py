"""Models of texts and of BF16, from an ONNX file to an answer: packed, proved, served, asked."""

from __future__ import annotations

import json
import struct
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper
from sealane.bundle.elements import narrowed
from sealane.bundle.types import DataType
from sealane.client import Client, bf16
from sealane.names import ReleaseName
from sealane_agent.layout import LKG, Pointer, StateFolder
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_manager.bundle.pack import PackOrder, pack
from sealane_manager.bundle.variants import VariantSource
from support.endpoints import SLOT, EndpointProcess, endpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def onnx_file(folder: Path, nodes: list[Any], kind: int) -> Path:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", kind, ["rows", 2])],
        [helper.make_tensor_value_info("y", kind, ["rows", 2])],
    )
    opsets = [helper.make_opsetid("", 20)]
    path = folder / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def installed(root: Path, order: PackOrder, variant: str) -> StateFolder:
    """Pack, and lay the bundle out as a device does."""
    packed = pack(order)
    assert {proof.deviation for proof in packed.proofs} == {0.0}
    folder = StateFolder(root / "device")
    view = folder.view(packed.manifest.digest)
    for layer in packed.manifest.layers:
        (view / layer.path).parent.mkdir(parents=True, exist_ok=True)
        blob = order.out / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")
        (view / layer.path).write_bytes(blob.read_bytes())
    lkg = folder.pointer(SLOT, LKG)
    lkg.parent.mkdir(parents=True)
    release = ReleaseName(order.model, 1)
    lkg.write_bytes(Pointer(release, packed.manifest.digest, variant).encode())
    return folder


def over_rest(running: EndpointProcess, fields: dict[str, Any], tail: bytes = b"") -> bytes:
    head = json.dumps(fields).encode()
    named = {"Inference-Header-Content-Length": str(len(head))} if tail else {}
    url = f"http://{running.rest}/v2/models/{SLOT}/infer"
    with urllib.request.urlopen(urllib.request.Request(url, head + tail, named)) as response:
        return bytes(response.read())


def over_grpc(running: EndpointProcess, datatype: DataType, shape: list[int], raw: bytes) -> bytes:
    request = wire.ModelInferRequest(model_name=SLOT, raw_input_contents=[raw])
    request.inputs.add(name="x", datatype=datatype.value, shape=shape)
    with grpc.insecure_channel(running.grpc) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=wire.ModelInferRequest.SerializeToString,
            response_deserializer=wire.ModelInferResponse.FromString,
        )
        answer = infer(request, timeout=30)
    assert answer.outputs[0].datatype == datatype.value
    return bytes(answer.raw_output_contents[0])


def test_texts_are_packed_proved_and_answered(tmp_path: Path) -> None:
    upper = helper.make_node("StringConcat", ["x", "x"], ["y"])
    data = tmp_path / "data.npz"
    np.savez(data, x=np.array([["a", "b"], ["grün", ""], ["x" * 40, "7"]]))
    order = PackOrder(
        "text/twice", onnx_file(tmp_path, [upper], TensorProto.STRING), data, tmp_path / "out"
    )
    with endpoint(installed(tmp_path, order, "onnx-fp32")) as running:
        for texts in (["ab", "ü"], ["ba", "ü"], ["a longer one", ""]):
            given = {"name": "x", "datatype": "BYTES", "shape": [1, 2], "data": texts}
            answer = json.loads(over_rest(running, {"inputs": [given]}))
            assert answer["outputs"][0]["data"] == [text * 2 for text in texts]
        raw = b"".join(struct.pack("<I", len(text)) + text for text in (b"ab", b""))
        twice = over_grpc(running, DataType.BYTES, [1, 2], raw)
        assert twice == b"\x04\0\0\0abab\0\0\0\0"
        with Client(running.rest) as client:
            for asked in (np.array([["ab", "ü"]]), np.array([["ab", b"\xc3\xbc"]], object)):
                answered = client.infer(SLOT, {"x": asked}).outputs["y"]
                assert answered.tolist() == [["abab", "üü"]]


@pytest.mark.parametrize("variant", ["onnx-fp32", "ov-fp32"])
def test_halves_are_packed_proved_and_answered(tmp_path: Path, variant: str) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["wide", "wide"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.BFLOAT16),
    ]
    model, data = onnx_file(tmp_path, nodes, TensorProto.BFLOAT16), tmp_path / "data.npz"
    np.savez(data, x=np.linspace(-3, 3, 8, dtype=np.float32).reshape(4, 2))
    variants = (VariantSource("ov-fp32", model, "openvino", "fp32"),)
    order = PackOrder("half/twice", model, data, tmp_path / "out", variants)
    bits = narrowed(np.array([1.5, -0.25], np.float32)).tobytes()
    twice = narrowed(np.array([3.0, -0.5], np.float32)).tobytes()
    with endpoint(installed(tmp_path, order, variant)) as running:
        size = {"binary_data_size": 4}
        given = {"name": "x", "datatype": "BF16", "shape": [1, 2], "parameters": size}
        fields = {"inputs": [given], "parameters": {"binary_data_output": True}}
        assert over_rest(running, fields, bits).endswith(twice)
        assert over_grpc(running, DataType.BF16, [1, 2], bits) == twice
        with Client(running.rest) as client:
            halves = bf16(np.array([[1.5, -0.25]]))
            answered = client.infer(SLOT, {"x": halves}).outputs["y"]
            assert answered.dtype == np.float32
            assert answered.tolist() == [[3.0, -0.5]]
