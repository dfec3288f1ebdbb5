"""Clients who go at any moment, or whose time is over, cost nobody else an answer or a worker."""

from __future__ import annotations

import random
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import grpc
import psutil
import pytest
from sealane_agent.oip.http import CONNECTIONS
from sealane_agent.oip.wire import open_inference_pb2 as wire
from support.endpoints import SLOT, EndpointProcess, endpoint, lay_out
from support.under_load import active_worker, asking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SERVICE: Final = "/inference.GRPCInferenceService"
MOMENTS_S: Final = (0.0003, 0.0006, 0.001, 0.002, 0.004, 0.01)
TIMES: Final = 150
BODY: Final = (
    b'{"parameters": {"timeout": 300}, "inputs": ['
    b'{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'
)
ASKED: Final = b"POST /v2/models/cam/infer HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
AT_ONCE: Final = struct.pack("ii", 1, 0)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path, 1)) as started:
        yield started


def asked(rows: int = 1) -> bytes:
    message = wire.ModelInferRequest(model_name=SLOT, raw_input_contents=[bytes(16 * rows)])
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    return message.SerializeToString()


def single_calls(running: EndpointProcess, dice: random.Random) -> None:
    with grpc.insecure_channel(running.grpc) as channel:
        infer = channel.unary_unary(f"{SERVICE}/ModelInfer", bytes, bytes)
        for _ in range(TIMES):
            with suppress(grpc.RpcError):
                infer(asked(dice.choice((1, 2_000))), timeout=dice.choice(MOMENTS_S))


def streams(running: EndpointProcess, dice: random.Random) -> None:
    with grpc.insecure_channel(running.grpc) as channel:
        infer: Any = channel.stream_stream(f"{SERVICE}/ModelStreamInfer", bytes, bytes)
        for _ in range(TIMES):
            call = infer(iter([asked()] * 20), timeout=dice.choice(MOMENTS_S))
            with suppress(grpc.RpcError):
                next(call)
                call.cancel()


def connections(running: EndpointProcess, dice: random.Random) -> None:
    """Of HTTP: cut anywhere, closed or reset, also before they are accepted."""
    host, _, port = running.rest.rpartition(":")
    for _ in range(2 * TIMES):
        with suppress(OSError), socket.create_connection((host, int(port))) as client:
            client.sendall((ASKED * 3)[: dice.randrange(3 * len(ASKED))])
            time.sleep(dice.choice((0, 0, 0.0005)))
            if dice.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)


@pytest.mark.parametrize("leave", [single_calls, streams, connections])
def test_who_goes_costs_nobody_an_answer_or_a_worker(
    running: EndpointProcess, leave: Callable[[EndpointProcess, random.Random], None]
) -> None:
    worker = active_worker(running)
    with asking(running) as others, ThreadPoolExecutor() as crowd:
        others.go_on("meanwhile", 1)
        for _ in crowd.map(lambda seed: leave(running, random.Random(seed)), range(4)):  # noqa: S311 - no secret
            pass
        others.go_on("after", 100)

    assert all(not seen["failures"] and not seen["wrong"] for seen in others.phases.values())
    assert active_worker(running) == worker
    assert len(running.end().splitlines()) <= 3  # its doors, its limits, its end


def test_who_holds_connections_at_the_grpc_door_uses_up_no_files(running: EndpointProcess) -> None:
    files = psutil.Process(running.process.pid).num_fds()
    host, _, port = running.grpc.rpartition(":")
    with asking(running, clients=2) as others, ExitStack() as held:
        others.go_on("before", 10)
        for _ in range(CONNECTIONS + 500):
            held.enter_context(socket.create_connection((host, int(port)), timeout=10))
        others.go_on("meanwhile", 100)
        assert psutil.Process(running.process.pid).num_fds() < files + CONNECTIONS + 100

    assert all(not seen["failures"] for seen in others.phases.values())
