"""What a real endpoint records, to the last request, across the ends of either process."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc
import pytest
from sealane.clock import SystemClock
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.merging import merge_models
from sealane.telemetry.types import Arm, ErrorKind, ModelWindow, TelemetryAck
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.messages import Load
from sealane_agent.telemetry.collector import Collector, Times
from sealane_agent.telemetry.host import Host
from sealane_agent.telemetry.spool import Spool
from support.endpoints import SLOT, endpoint, lay_out, tiny_pointer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane_agent.layout import StateFolder

pytestmark = pytest.mark.slow

GOOD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [[1, 2, 3, 4]] * 2}]}
BAD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
PATIENCE_S = 30


def ask(address: str, times: int, content: object = GOOD, version: int = 0) -> None:
    path = f"/v2/models/{SLOT}" + (f"/versions/{version}" if version else "")
    connection = http.client.HTTPConnection(address, timeout=30)
    for _ in range(times):
        connection.request("POST", f"{path}/infer", json.dumps(content))
        connection.getresponse().read()
    connection.close()


async def switch(folder: StateFolder, version: int, share: float = 1.0) -> None:
    link = EndpointLink(folder.control_socket)
    proved = await link.load(Load(SLOT, tiny_pointer(version), 60))
    await link.activate(SLOT, proved.worker, probation=True, share=share)
    await link.close()


async def offered(folder: StateFolder, stored: str = "") -> tuple[str, bytes]:
    """What an endpoint offers to a supervisor that has just connected."""
    link = EndpointLink(folder.control_socket)
    try:
        return await link.telemetry(stored)
    finally:
        await link.close()


async def awaited(folder: StateFolder, stored: str = "") -> tuple[str, bytes]:
    """The same, once a window was closed."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await offered(folder, stored))[0]:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.1)
    return found


def counted(*bodies: bytes) -> dict[tuple[str, str], ModelWindow]:
    """By release and arm."""
    found: dict[tuple[str, str], ModelWindow] = {}
    for body in bodies:
        for model in (model for window in decode_windows(body) for model in window.models):
            key = (model.release, model.arm)
            found[key] = merge_models(found[key], model) if key in found else model
    return found


def test_an_endpoint_that_ends_in_order_loses_no_count(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, 1, 2)
    with endpoint(folder) as running:
        ask(running.rest, 7)
        asyncio.run(switch(folder, 2))
        ask(running.rest, 1000)
        ask(running.rest, 3, BAD)
        ask(running.rest, 5, version=1)
    with endpoint(folder):
        _, body = asyncio.run(offered(folder))
    found = counted(body)
    first, second = ("demo/tiny@1", Arm.ACTIVE), ("demo/tiny@2", Arm.ACTIVE)
    previous = ("demo/tiny@1", Arm.PREVIOUS)
    assert {key: model.requests for key, model in found.items()} == {
        first: 7,
        second: 1003,
        previous: 5 + 3,
    }
    assert found[second].errors == {ErrorKind.REFUSED: 3}
    timings = found[second].timings
    assert timings.latency.count == timings.batch.count == timings.queue.count == 1000
    assert timings.batch.sum == 2000
    assert timings.queue.sum < timings.latency.sum
    assert found[second].predictions.classes == (0, 0, 2000)


def test_requests_that_are_split_tell_their_arm_at_both_doors_and_are_counted_in_it(
    tmp_path: Path,
) -> None:
    folder = lay_out(tmp_path, 1, 2)
    told: Counter[tuple[str, str]] = Counter()
    with endpoint(folder) as running:
        ask(running.rest, 9)
        asyncio.run(switch(folder, 2, share=0.25))
        told.update(arms_over_rest(running.rest, 200))
        told.update(arms_over_grpc(running.grpc, 200))
    with endpoint(folder):
        _, body = asyncio.run(offered(folder))
    before, *windows = decode_windows(body)
    assert [model.requests for model in before.models] == [9]
    found = [model for window in windows for model in window.models]
    counted_now: Counter[tuple[str, str]] = Counter()
    for model in found:
        counted_now[model.release[-1], model.arm] += model.requests
    assert told == counted_now
    assert set(told) == {("1", "active"), ("2", "candidate")}
    # 400 draws of a quarter: outside of these lies less than one run in a million.
    assert 55 < told["2", "candidate"] < 150


def arms_over_rest(address: str, times: int) -> Iterator[tuple[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=30)
    for _ in range(times):
        connection.request("POST", f"/v2/models/{SLOT}/infer", json.dumps(GOOD))
        answer = json.loads(connection.getresponse().read())
        yield answer["model_version"], answer["parameters"]["arm"]
    connection.close()


def arms_over_grpc(address: str, times: int) -> Iterator[tuple[str, str]]:
    request = wire.ModelInferRequest(model_name=SLOT, raw_input_contents=[bytes(32)])
    request.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    with grpc.insecure_channel(address) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=wire.ModelInferRequest.SerializeToString,
            response_deserializer=wire.ModelInferResponse.FromString,
        )
        for _ in range(times):
            answer = infer(request, timeout=30)
            yield answer.model_version, answer.parameters["arm"].string_param


def test_a_killed_endpoint_loses_its_open_window_at_most(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, 1, 2)
    with endpoint(folder) as running:
        asyncio.run(switch(folder, 2))
        ask(running.rest, 50)
        first = asyncio.run(awaited(folder))
        assert asyncio.run(offered(folder)) == first
        ask(running.rest, 5)
        running.process.kill()
        running.end()
    with endpoint(folder):
        assert asyncio.run(offered(folder)) == first
        _, rest = asyncio.run(offered(folder, first[0]))
    requests = sum(model.requests for model in counted(first[1], *filter(None, [rest])).values())
    assert 50 <= requests <= 55


def test_a_supervisor_that_ends_anywhere_counts_each_request_once(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "state", 1)
    for _ in range(3):
        with endpoint(folder) as running:
            ask(running.rest, 20)
            collect(folder)
        with endpoint(folder):
            collect(folder)
            collect(folder)
    spool = Spool(folder.telemetry, "boot")
    bodies = []
    while (batch := spool.next_batch()) is not None:
        bodies.append(batch.body)
        spool.acknowledge(TelemetryAck(batch.boot, batch.sequence))
    spool.close()
    (model,) = counted(*bodies).values()
    assert model.requests == 60


def collect(folder: StateFolder) -> None:
    """A supervisor that lives for one look at its endpoint."""
    spool = Spool(folder.telemetry, "boot")

    async def within() -> None:
        link = EndpointLink(folder.control_socket)
        times = Times(SystemClock(), lambda: datetime.now(UTC), lambda: None)
        try:
            await Collector(link, spool, Host(folder.root), times).collect()
        finally:
            await link.close()

    asyncio.run(within())
    spool.close()


def test_an_endpoint_without_telemetry_offers_nothing(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, 1)
    with endpoint(folder, "--no-telemetry") as running:
        ask(running.rest, 3)
        assert asyncio.run(offered(folder)) == ("", b"")
    assert not folder.endpoint_windows.exists()
