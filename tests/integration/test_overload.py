"""More requests than a model can answer: the excess hears so at once, the others are answered."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from sealane_agent.oip.wire import open_inference_pb2 as wire
from sealane_agent.serving.exchange import WAITING
from sealane_agent.serving.geometry import MAX_SLOTS
from support.endpoints import SLOT, EndpointProcess, endpoint, lay_out
from support.under_load import workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

CROWD = 400
ROOM = WAITING + MAX_SLOTS
PATIENCE_S = 30
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'


@pytest.fixture
def running(tmp_path: Path) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path, 1)) as started:
        status, _, _ = asyncio.run(over_rest(started.rest))
        assert status == 200
        yield started


async def over_rest(address: str) -> tuple[int, bytes, float]:
    """Status, head, and when it came."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v2/models/{SLOT}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    writer.write(head.encode() + BODY)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return int(answer.split()[1]), answer, time.monotonic()


async def over_grpc(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, float]:
    request = wire.ModelInferRequest(model_name=SLOT, raw_input_contents=[bytes(16)])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=wire.ModelInferRequest.SerializeToString,
        response_deserializer=wire.ModelInferResponse.FromString,
    )
    call = infer(request, timeout=PATIENCE_S)
    return await call.code(), time.monotonic()


def test_the_excess_of_a_crowd_is_refused_while_nobody_is_answered_and_the_others_are_later(
    running: EndpointProcess,
) -> None:
    (worker,) = workers(running)

    async def crowd() -> tuple[list[tuple[int, bytes, float]], float]:
        asked = [asyncio.create_task(over_rest(running.rest)) for _ in range(CROWD)]
        for _, task in zip(range(CROWD - ROOM), asyncio.as_completed(asked), strict=False):
            status, head, _ = await task
            assert (status, b"retry-after: 1" in head.lower()) == (503, True)
        went_on = time.monotonic()
        worker.send_signal(signal.SIGCONT)
        return await asyncio.gather(*asked), went_on

    worker.send_signal(signal.SIGSTOP)
    try:
        answers, went_on = asyncio.run(asyncio.wait_for(crowd(), PATIENCE_S))
    finally:
        worker.send_signal(signal.SIGCONT)
    assert sum(at <= went_on for _, _, at in answers) == CROWD - ROOM
    assert [status for status, _, _ in answers].count(200) == ROOM


def test_grpc_says_resource_exhausted(running: EndpointProcess) -> None:
    (worker,) = workers(running)

    async def crowd() -> list[tuple[grpc.StatusCode, float]]:
        async with grpc.aio.insecure_channel(running.grpc) as channel:
            asked = [asyncio.create_task(over_grpc(channel)) for _ in range(CROWD)]
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            worker.send_signal(signal.SIGCONT)
            return await asyncio.gather(*asked)

    worker.send_signal(signal.SIGSTOP)
    try:
        answers = asyncio.run(asyncio.wait_for(crowd(), PATIENCE_S))
    finally:
        worker.send_signal(signal.SIGCONT)
    codes = [code for code, _ in sorted(answers, key=lambda each: each[1])]
    assert codes[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) >= ROOM
