from __future__ import annotations

import asyncio
import gzip
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from sealane_agent.oip.extensions import Extensions
from sealane_agent.oip.http_reader import Head, Request
from sealane_agent.oip.peers import user_of
from sealane_agent.oip.regions import Regions
from sealane_agent.oip.rest import RestDoor
from sealane_agent.oip.rest_pages import RestPages
from sealane_agent.serving.dataplane import Dataplane
from support.eventually import until
from support.fake_workers import FakeWorkshop, pointer

if TYPE_CHECKING:
    from sealane_agent.oip.http import Response

ROW = struct.pack("<2f", 1.0, 2.5)


def ask(*requests: Request, workshop: FakeWorkshop | None = None) -> list[Response]:
    async def within() -> list[Response]:
        dataplane = Dataplane(workshop or FakeWorkshop())
        dataplane.open("cam").begin(pointer(7))
        if workshop is None:
            await until(lambda: dataplane.all_ready)
        shared = Extensions(dataplane, Regions(user_of, allowed=False))
        door = RestDoor(dataplane, RestPages(shared))
        responses = [await door.answer(request) for request in requests]
        await dataplane.close(0)
        return responses

    return asyncio.run(within())


def get(path: str, method: str = "GET") -> Request:
    return Request(Head(method, path, {}), b"")


def post(path: str, body: bytes, **headers: str) -> Request:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Request(Head("POST", path, named), body)


def infer(fields: dict[str, Any] | bytes, tail: bytes = b"", path: str = "/infer") -> Request:
    head = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    headers = {"inference_header_content_length": str(len(head))} if tail else {}
    return post(f"/v2/models/cam{path}", head + tail, **headers)


def json_input(**changes: Any) -> dict[str, Any]:
    fields = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.5]}
    return {**fields, **changes}


def content(response: Response) -> Any:
    return json.loads(b"".join(response.parts))


def test_the_server_says_its_name_version_and_extensions() -> None:
    (response,) = ask(get("/v2"))
    assert content(response)["name"] == "sealane"
    assert "binary_tensor_data" in content(response)["extensions"]
    assert content(response)["version"]


def test_live_and_ready_answer_by_status_alone() -> None:
    live, ready, model = ask(
        get("/v2/health/live"), get("/v2/health/ready"), get("/v2/models/cam/versions/7/ready")
    )
    assert (live.status, ready.status, model.status) == (200, 200, 200)


def test_a_model_that_cannot_be_loaded_makes_model_and_server_unready() -> None:
    ready, model, metadata = ask(
        get("/v2/health/ready"),
        get("/v2/models/cam/ready"),
        get("/v2/models/cam"),
        workshop=FakeWorkshop(broken=9),
    )
    assert (ready.status, model.status, metadata.status) == (400, 400, 503)


def test_a_models_metadata_names_its_tensors_and_versions() -> None:
    (response,) = ask(get("/v2/models/cam"))
    assert content(response) == {
        "name": "cam",
        "versions": ["7"],
        "platform": "onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }


def test_json_in_json_out_with_the_id_and_the_release_number() -> None:
    (response,) = ask(infer({"id": "a1", "inputs": [json_input()]}))
    assert content(response) == {
        "model_name": "cam",
        "model_version": "7",
        "id": "a1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.5]}],
    }


def test_binary_in_binary_out() -> None:
    fields = {
        "parameters": {"binary_data_output": True},
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 8},
            }
        ],
    }
    (response,) = ask(infer(fields, ROW, "/versions/7/infer"))
    head, raw = response.parts
    assert bytes(raw) == ROW
    assert dict(response.headers)["Inference-Header-Content-Length"] == str(len(head))
    (output,) = json.loads(bytes(head))["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}


def test_an_output_can_be_asked_for_in_json_although_the_rest_is_binary() -> None:
    fields = {
        "parameters": {"binary_data_output": True},
        "inputs": [json_input()],
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
    }
    (response,) = ask(infer(fields))
    assert content(response)["outputs"][0]["data"] == [1.0, 2.5]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_compressed_body_is_inflated(encoding: str, pack: Any) -> None:
    body = pack(json.dumps({"inputs": [json_input()]}).encode())
    (response,) = ask(post("/v2/models/cam/infer", body, content_encoding=encoding))
    assert response.status == 200


@pytest.mark.parametrize(
    ("coding", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_an_answer_is_compressed_for_who_asks_for_one_coding(coding: str, unpack: Any) -> None:
    fields = {"parameters": {"binary_data_output": True}, "inputs": [json_input()]}
    body = json.dumps(fields).encode()
    path = "/v2/models/cam/infer"
    plain, packed, error = ask(
        post(path, body),
        post(path, body, accept_encoding=coding),
        post("/v2/models/none/infer", body, accept_encoding=coding),
    )
    assert dict(packed.headers) == {**dict(plain.headers), "Content-Encoding": coding}
    assert unpack(b"".join(packed.parts)) == b"".join(plain.parts)
    assert "no model" in json.loads(unpack(b"".join(error.parts)))["error"]


def test_a_list_of_codings_is_no_wish() -> None:
    body = json.dumps({"inputs": [json_input()]}).encode()
    (response,) = ask(post("/v2/models/cam/infer", body, accept_encoding="gzip, deflate, br"))
    assert "Content-Encoding" not in dict(response.headers)
    assert content(response)["model_name"] == "cam"


def test_a_decompression_bomb_is_refused() -> None:
    bomb = zlib.compress(bytes(70 * 1024 * 1024), 9)
    broken, bombed, unknown = ask(
        post("/v2/models/cam/infer", b"junk", content_encoding="gzip"),
        post("/v2/models/cam/infer", bomb, content_encoding="deflate"),
        post("/v2/models/cam/infer", b"", content_encoding="br"),
    )
    assert (broken.status, bombed.status, unknown.status) == (400, 413, 415)


@pytest.mark.parametrize(
    ("request_", "status", "text"),
    [
        (get("/v2/models/nobody"), 404, "no model 'nobody' here (the models are: cam)"),
        (get("/v2/models/cam/versions/8"), 404, "cam has no such version (it serves 7)"),
        (get("/v2/models/cam/versions/x"), 404, "no version 'x' here (a version is a number)"),
        (get("/v1/models"), 404, "no '/v1/models' here (the protocol begins at /v2)"),
        (get("/v2", "POST"), 405, "/v2 takes GET"),
        (infer(b"{"), 400, "the body is not JSON"),
        (infer(b"[" * 100_000), 400, "the body is not JSON"),
        (infer(b"\xff\xfe"), 400, "the body is not JSON"),
        (infer(b"[]"), 400, "the body is not a JSON object"),
        (infer({}), 400, "input 'x' is missing (its inputs are x)"),
        (infer({"inputs": [json_input(name="z")]}), 400, "the model has no input 'z'"),
        (infer({"inputs": [json_input(), json_input()]}), 400, "input 'x' is given twice"),
        (infer({"inputs": [json_input(shape=[2])]}), 400, "input 'x' has shape [2]"),
        (infer({"inputs": [json_input(shape=[0, 2], data=[])]}), 400, "has shape [0, 2]"),
        (infer({"inputs": [json_input(shape=[-1, 2])]}), 400, "every size in a shape"),
        (infer({"inputs": [json_input(shape="no")]}), 400, "a shape is a list"),
        (infer({"inputs": [json_input(datatype="FP64")]}), 400, "has datatype FP64"),
        (infer({"inputs": [json_input(datatype="F")]}), 400, "'F' is not a datatype"),
        (infer({"inputs": [json_input(datatype="FP16")]}), 400, "FP16, which has no JSON"),
        (infer({"inputs": [json_input(data=["1", "2"])]}), 400, "does not fit FP32"),
        (infer({"inputs": [json_input(data=[1e300, 1])]}), 400, "out of range for FP32"),
        (infer({"inputs": [json_input(data=[[1], [2, 3]])]}), 400, "is ragged"),
        (infer({"inputs": [json_input(data=[1])]}), 400, "holds 1 values"),
        (infer({"inputs": [json_input(data=None)]}), 400, "is not a list"),
        (infer(b'{"inputs":[{"name":"x","data":[NaN]}]}'), 400, "JSON has no NaN"),
        (infer({"inputs": [json_input()], "outputs": [{"name": "q"}]}), 400, "no output 'q'"),
        (infer({"inputs": [7]}), 400, "each of 'inputs' is an object with a name"),
        (
            infer({"inputs": [{**json_input(), "parameters": {"binary_data_size": 8}}]}, ROW),
            400,
            "input 'x' has JSON data and binary data",
        ),
        (
            infer(
                {
                    "inputs": [
                        {
                            "name": "x",
                            "datatype": "FP32",
                            "shape": [1, 2],
                            "parameters": {"binary_data_size": 9},
                        }
                    ]
                },
                ROW,
            ),
            400,
            "goes beyond the body",
        ),
        (infer({"inputs": [json_input()]}, ROW), 400, "the body is longer than its inputs"),
        (
            infer({"inputs": [{**json_input(), "parameters": {"shared_memory_region": "r"}}]}),
            400,
            "comes with shared_memory_byte_size",
        ),
        (
            post("/v2/models/cam/infer", b"{}", inference_header_content_length="9"),
            400,
            "larger than the body",
        ),
        (
            post("/v2/models/cam/infer", b"{}", inference_header_content_length="-1"),
            400,
            "not a number",
        ),
    ],
)
def test_what_a_client_does_wrong_is_said_in_one_sentence(
    request_: Request, status: int, text: str
) -> None:
    (response,) = ask(request_)
    assert response.status == status
    assert text in content(response)["error"]


def test_the_index_lists_every_version_and_can_be_asked_for_the_ready_ones() -> None:
    path = "/v2/repository/index"
    everything, only_ready = ask(
        post(path, b""), post(path, b'{"ready": true}'), workshop=FakeWorkshop(broken=9)
    )
    assert content(everything) == [
        {"name": "cam", "version": "7", "state": "UNAVAILABLE", "reason": "is being loaded"}
    ]
    assert content(only_ready) == []


def test_an_output_that_json_cannot_carry_is_refused_with_the_way_out() -> None:
    nan = struct.pack("<2f", float("nan"), 1.0)
    fields = {
        "inputs": [
            {
                "name": "x",
                "datatype": "FP32",
                "shape": [1, 2],
                "parameters": {"binary_data_size": 8},
            }
        ]
    }
    (response,) = ask(infer(fields, nan))
    assert response.status == 400
    assert "ask for binary data" in content(response)["error"]
