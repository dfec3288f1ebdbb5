"""The protocol's extensions, asked for by the stock client in a process of its own.

Two endpoints: one as it comes, one whose owner allows what is off by default.
"""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from typing import TYPE_CHECKING, Any, Self

import pytest
from sealane_agent.oip.regions import FOLDER
from support.endpoints import COMMAND, EndpointProcess, endpoint, lay_out
from support.stock import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

OPEN = (
    "env",
    "SEALANE_AGENT_ENDPOINT_REPOSITORY=true",
    "SEALANE_AGENT_ENDPOINT_SHARED_MEMORY=true",
    "SEALANE_AGENT_ENDPOINT_METRICS=both",
    *COMMAND,
)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1)) as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1), command=OPEN) as running:
        yield running


def test_a_models_configuration_says_what_a_load_tool_needs(
    served: EndpointProcess, door: str
) -> None:
    config = ask(served, door, "pages")["config"]
    config = config["config"] if door == "grpc" else config
    assert config["name"] == "cam"
    assert config["max_batch_size"] > 0
    (given,), (output,) = config["input"], config["output"]
    assert (given["name"], given["data_type"], [int(n) for n in given["dims"]]) == (
        "x",
        "TYPE_FP32",
        [4],
    )
    assert (output["name"], [int(n) for n in output["dims"]]) == ("y", [3])


def test_statistics_count_what_was_answered(served: EndpointProcess, door: str) -> None:
    seen = ask(served, door, "pages")
    (one,) = seen["statistics"]["model_stats"]
    other = seen["all_statistics"]["model_stats"][0]
    # Reckoned back from the moment of each question: it may be rounded up or down.
    moments = [int(each.pop("last_inference")) for each in (one, other)]
    assert max(moments) - min(moments) <= 1
    assert one == other
    assert (one["name"], one["version"]) == ("cam", "1")
    assert int(one["inference_count"]) >= int(one["execution_count"]) >= 1
    success = one["inference_stats"]["success"]
    assert int(success["count"]) >= 1
    assert int(success["ns"]) >= int(one["inference_stats"]["compute_infer"]["ns"]) > 0
    assert int(one["memory_usage"][0]["byte_size"]) > 0
    assert min(moments) > 1_700_000_000_000


def test_nothing_is_traced_and_the_log_is_told(served: EndpointProcess, door: str) -> None:
    seen = ask(served, door, "pages")
    text = json.dumps(seen["trace"]) + json.dumps(seen["log"])
    assert "OFF" in text
    assert "log_info" in text


def test_the_largest_values_come_with_their_numbers(
    served: EndpointProcess, door: str, truth: list[list[float]]
) -> None:
    rows = ask(served, door, "classes")["y"]
    for row, values in zip(rows, truth, strict=True):
        best = sorted(range(len(values)), key=lambda at: -values[at])[:2]
        assert [int(item.split(":")[1]) for item in row] == best
        assert float(row[0].split(":")[0]) == pytest.approx(values[best[0]], abs=1e-5)


def test_priority_timeout_and_parameters_of_ones_own(
    served: EndpointProcess, door: str, truth: list[list[float]]
) -> None:
    seen = ask(served, door, "terms")
    assert seen["y"] == truth
    status = {"http": "504", "grpc": "StatusCode.DEADLINE_EXCEEDED"}[door]
    assert seen["expired"][0] == status


def test_loading_and_unloading_is_the_owners_to_allow(
    closed: EndpointProcess, served: EndpointProcess, door: str
) -> None:
    denied = ask(closed, door, "repository")
    status = {"http": "403", "grpc": "StatusCode.PERMISSION_DENIED"}[door]
    assert denied["refused"][0] == denied["load"][0] == status
    assert "endpoint.repository" in denied["refused"][1]
    seen = ask(served, door, "repository")
    assert (seen["ready_after_unload"], seen["ready_after_load"]) == (False, True)
    assert "signed bundle" in seen["config"][1]
    assert seen["unknown"][0] == {"http": "404", "grpc": "StatusCode.NOT_FOUND"}[door]


def test_shared_memory_is_off_unless_the_owner_allows_it(
    closed: EndpointProcess, door: str
) -> None:
    assert "endpoint.shared_memory" in ask(closed, door, "shared_memory")["refused"][1]


def test_tensors_travel_through_shared_memory_both_ways(
    served: EndpointProcess, door: str, truth: list[list[float]]
) -> None:
    seen = ask(served, door, "shared_memory")
    assert "refused" not in seen, seen
    assert seen["y"] == truth
    assert seen["mixed"] == truth
    assert "both" in json.dumps(seen["status"])
    assert "were named" in seen["beyond"][1]
    assert "one name" in seen["path"][1]
    assert "GPU" in seen["gpu"][1]
    assert "no shared memory region" in seen["after"][1]


def test_a_region_belongs_to_the_connection_that_registered_it(served: EndpointProcess) -> None:
    size = 64
    path = FOLDER / f"sealane-test-{os.getpid()}"
    path.write_bytes(bytes(size))
    try:
        with Raw(served) as mine, Raw(served) as other:
            place = {"key": f"/{path.name}", "offset": 0, "byte_size": size}
            assert mine.post("/v2/systemsharedmemory/region/r/register", place)[0] == 200
            assert mine.get("/v2/systemsharedmemory/status")[1][0]["name"] == "r"
            assert other.get("/v2/systemsharedmemory/status")[1] == []
            assert other.post("/v2/models/cam/infer", in_memory(size))[0] == 200
            assert other.post("/v2/systemsharedmemory/unregister", {})[0] == 200
            assert mine.post("/v2/models/cam/infer", in_memory(size))[0] == 200
            os.truncate(path, 0)
            status, told = mine.post("/v2/models/cam/infer", in_memory(size))
            assert (status, "smaller" in told["error"]) == (400, True)
            assert mine.post("/v2/systemsharedmemory/region/r/unregister", {})[0] == 200
            status, told = other.post("/v2/models/cam/infer", in_memory(size))
            assert (status, "no shared memory region" in told["error"]) == (404, True)
        assert served.process.poll() is None
    finally:
        path.unlink()


def in_memory(size: int) -> dict[str, Any]:
    place = {"shared_memory_region": "r", "shared_memory_byte_size": size}
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [4, 4], "parameters": place}]}


class Raw:
    """One connection to the REST door."""

    def __init__(self, served: EndpointProcess) -> None:
        host, port = served.rest.split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=60)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._socket.close()

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(f"GET {path} HTTP/1.1\r\n\r\n".encode())

    def post(self, path: str, fields: dict[str, Any]) -> tuple[int, Any]:
        body = json.dumps(fields).encode()
        head = f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
        return self._ask(head.encode() + body)

    def _ask(self, content: bytes) -> tuple[int, Any]:
        self._socket.sendall(content)
        status = int(self._file.readline().split()[1])
        length = 0
        while (line := self._file.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return status, json.loads(self._file.read(length) or b"null")


def test_streamed_requests_are_answered_in_order_and_errors_are_text(
    served: EndpointProcess, truth: list[list[float]]
) -> None:
    seen = ask(served, "grpc", "stream")
    assert seen["ids"] == ["0", "2"]
    assert seen["y"] == truth
    assert "the model has no input 'z'" in seen["error"]
    assert seen["strict"] == "StatusCode.INVALID_ARGUMENT"


def test_a_client_is_told_when_nothing_more_comes(served: EndpointProcess) -> None:
    assert ask(served, "grpc", "final") == {"final": [False, True]}


def test_a_call_that_was_taken_back_leaves_the_next_one_alone(
    served: EndpointProcess, truth: list[list[float]]
) -> None:
    assert ask(served, "grpc", "cancelled")["y"] == truth


def test_grpcs_own_health_service_knows_endpoint_and_models(served: EndpointProcess) -> None:
    assert ask(served, "grpc", "health_service") == {
        "": "0801",
        "cam": "0801",
        "nobody": "StatusCode.NOT_FOUND",
        "watch": "0801",
    }


def test_metrics_are_told_under_our_names_and_tritons(
    closed: EndpointProcess, served: EndpointProcess
) -> None:
    ask(served, "grpc", "infer")
    both = metrics(served)
    assert 'sealane_request_latency_microseconds_bucket{slot="cam",version="1",le="+Inf"}' in both
    assert 'nv_inference_request_success{model="cam",version="1"}' in both
    assert "nv_inference" not in metrics(closed)


def metrics(served: EndpointProcess) -> str:
    with urllib.request.urlopen(f"http://{served.rest}/metrics", timeout=60) as response:
        return str(response.read().decode())
