"""The stock client, in a process of its own, against a real endpoint with a real model."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.endpoints import EndpointProcess, endpoint, lay_out
from support.stock import CLIENT, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

CODES = {
    "http": ("404", "400"),
    "grpc": ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1)) as running:
        yield running


def test_live_and_ready_and_what_is_not(served: EndpointProcess, door: str) -> None:
    assert ask(served, door, "infer_version")["version"] == "1"
    assert ask(served, door, "health") == {
        "live": True,
        "ready": True,
        "model": True,
        "version": True,
        "other_version": False,
        "unknown": False,
    }


def test_metadata_of_server_and_model(served: EndpointProcess, door: str) -> None:
    seen = ask(served, door, "metadata")
    assert seen["server"]["name"] == "sealane"
    assert seen["server"]["version"]
    assert seen["model"]["name"] == "cam"
    assert seen["model"]["versions"] == ["1"]
    (given,), (output,) = seen["model"]["inputs"], seen["model"]["outputs"]
    assert (given["name"], given["datatype"], [int(n) for n in given["shape"]]) == (
        "x",
        "FP32",
        [-1, 4],
    )
    assert (output["name"], output["datatype"], [int(n) for n in output["shape"]]) == (
        "y",
        "FP32",
        [-1, 3],
    )
    index = seen["index"]["models"] if door == "grpc" else seen["index"]
    assert index[0]["state"] == "READY"


@pytest.mark.parametrize(
    "case", ["infer", "infer_json", "infer_gzip", "infer_deflate", "infer_version"]
)
def test_an_answer_is_onnxruntimes_own(
    served: EndpointProcess, door: str, case: str, truth: list[list[float]]
) -> None:
    seen = ask(served, door, case)
    assert seen == {"y": truth, "name": "cam", "version": "1", "id": "r-1"}


def test_no_outputs_named_means_all_of_them(
    served: EndpointProcess, door: str, truth: list[list[float]]
) -> None:
    assert ask(served, door, "infer_all_outputs") == {"y": truth}


def test_errors_say_what_to_do(served: EndpointProcess, door: str) -> None:
    seen = ask(served, door, "errors")
    unknown, invalid = CODES[door]
    assert seen["unknown_model"][0] == unknown
    assert "the models are: cam" in seen["unknown_model"][1]
    assert seen["unknown_version"][0] == unknown
    assert "it serves 1" in seen["unknown_version"][1]
    assert seen["wrong_shape"][0] == invalid
    assert "input 'x' has shape [4, 3], the model takes [-1, 4]" in seen["wrong_shape"][1]
    assert "the model has no input 'z'" in seen["wrong_name"][1]
    assert seen["too_many_rows"][0] == invalid
    assert "send fewer rows at once" in seen["too_many_rows"][1]


def test_our_messages_are_the_stock_clients_and_share_a_process_with_them() -> None:
    script = CLIENT.with_name("compare_descriptors.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"differing": [], "same": True}
