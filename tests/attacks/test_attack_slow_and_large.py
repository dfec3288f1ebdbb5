"""Deliveries that drip or stall, and messages that are small only until they are unpacked."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import psutil
import pytest
from sealane.fleet import AssignmentRequest
from sealane.limits import MIB
from sealane.wire.v1 import enrol_pb2, enrol_pb2_grpc, fleet_pb2, fleet_pb2_grpc
from sealane_agent.uplink.watchdog import watched
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.manager import RunningManager

PATIENCE_S = 0.5
TRIED_S = 60


class Slow:
    """A source that sends one byte now and then, or nothing more at all."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s, self.gone = pause_s, threading.Event()

    def blob(
        self, _request: bytes, context: grpc.ServicerContext
    ) -> Iterator[fleet_pb2.FetchBlobResponse]:
        context.add_callback(self.gone.set)
        yield fleet_pb2.FetchBlobResponse(chunk=b"x" * 1000)
        while not self.gone.wait(self.pause_s):
            yield fleet_pb2.FetchBlobResponse(chunk=b"x")


def served(service: Slow, read: Callable[[Any], None]) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_stream_rpc_method_handler(
        service.blob, response_serializer=fleet_pb2.FetchBlobResponse.SerializeToString
    )
    methods = {"FetchBlob": handler}
    name = "sealane.wire.v1.FleetService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = fleet_pb2_grpc.FleetServiceStub(channel)
            read(stub.FetchBlob(fleet_pb2.FetchBlobRequest(), timeout=TRIED_S))
    finally:
        service.gone.set()
        server.stop(0).wait()


@pytest.mark.parametrize("pause_s", [0.05, 3600.0], ids=["drips", "stalls"])
def test_a_blob_that_drips_or_stalls_is_cut_off(pause_s: float) -> None:
    service, code = Slow(pause_s), []

    def read(call: Any) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            for _ in watched(call, PATIENCE_S):
                pass
        code.append(caught.value.code())

    served(service, read)
    assert code == [grpc.StatusCode.CANCELLED]
    assert service.gone.is_set()


def test_a_reader_that_is_slow_itself_cuts_nothing_off() -> None:
    got: list[bytes] = []

    def read(call: Any) -> None:
        for chunk in watched(call, PATIENCE_S):
            time.sleep(2 * PATIENCE_S)
            got.append(chunk)
            break

    served(Slow(3600.0), read)
    assert len(got) == 1


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def test_a_message_that_unpacks_to_two_hundred_megabytes_is_refused_unpacked_no_further(
    manager: RunningManager,
) -> None:
    token = manager.token()
    credentials = grpc.ssl_channel_credentials(token.ca)
    options = (("grpc.max_send_message_length", -1),)
    bomb = enrol_pb2.EnrolRequest(token_id="t", csr=bytes(200 * MIB))  # noqa: S106 - an id
    before = psutil.Process().memory_info().rss
    with grpc.secure_channel(token.address, credentials, options) as channel:
        stub = enrol_pb2_grpc.EnrolServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Enrol(bomb, timeout=TRIED_S, compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert psutil.Process().memory_info().rss - before < 150 * MIB


def test_a_device_that_asks_without_end_is_answered_in_order_and_harms_nobody(
    manager: RunningManager,
) -> None:
    greedy, other = manager.enrolled("greedy"), manager.enrolled("other")
    with greedy.session() as flood, other.session() as session:
        flood.greet()
        session.greet()
        for _ in range(200):
            flood.say(AssignmentRequest("n" * 32))
        assert session.ask(AssignmentRequest("m" * 32))
