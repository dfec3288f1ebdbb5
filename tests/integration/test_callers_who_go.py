"""Whoever goes before the answer leaves every door of the manager open, and no error in its log."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from sealane import codec
from sealane.fleet import Hello
from sealane.telemetry.codec import encode_windows
from sealane.telemetry.types import TelemetryBatch
from sealane.wire.v1 import enrol_pb2, fleet_pb2
from support.callers import call, channel, methods
from support.device import FACTS, enrol
from support.manager import running_manager
from support.telemetry import plain_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message
    from sealane.fleet import DeviceMessage
    from support.device import Device
    from support.manager import RunningManager

MOMENTS_S: Final = (0.0005, 0.002, 0.004, 0.008, 0.015, 0.03)
FLEET: Final = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"]
ENROL: Final = enrol_pb2.DESCRIPTOR.services_by_name["EnrolService"]
HALVES: Final = (
    b"GET / HTTP/1.1\r\n",
    b"GET /login HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\nname=",
    b"GET /api/v1/devices HTTP/1.1\r\nhost: localhost\r\n\r\n",
)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    gc.collect()  # a task whose error nobody read says so when it goes
    assert not [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]


def telemetry(sequence: int) -> TelemetryBatch:
    minute = int(time.time() - 1_760_000_000) // 60 - 60
    return TelemetryBatch("boot-1", sequence, encode_windows([plain_window(10, minute)]))


def a_word(*batches: TelemetryBatch) -> Message:
    said: tuple[DeviceMessage, ...] = (Hello("0.1.0", "boot-1", FACTS, ()), *batches)
    return fleet_pb2.PollRequest(said=map(codec.device_message_to_wire, said))


def answers(device: Device) -> bool:
    with device.session() as session:
        session.greet()
        return bool(session.ask(telemetry(1)))


def test_devices_who_go(manager: RunningManager) -> None:
    device = manager.enrolled("goer")
    requests: dict[str, Message | None] = {
        "Poll": a_word(telemetry(1)),
        "FetchMetadata": fleet_pb2.FetchMetadataRequest(name="timestamp.json"),
    }
    with device.channel() as link:
        for patience in MOMENTS_S:
            for method in FLEET.methods:
                with suppress(grpc.RpcError):
                    call(link, method, requests.get(method.name), patience)
    for patience in MOMENTS_S:
        with device.session() as session:
            session.greet()
            session.say(telemetry(1))
            time.sleep(patience)

    assert answers(device)


def test_machines_who_go_before_they_are_enrolled(manager: RunningManager) -> None:
    token = manager.token(uses=10)
    with grpc.secure_channel(token.address, grpc.ssl_channel_credentials(token.ca)) as link:
        for patience in MOMENTS_S:
            for method in ENROL.methods:
                with suppress(grpc.RpcError):
                    call(link, method, None, patience)

    assert answers(enrol(token, "stayer"))


def test_operators_who_go(manager: RunningManager) -> None:
    with channel(manager, manager.state.operator) as link:
        for patience in MOMENTS_S:
            for method in methods().values():
                with suppress(grpc.RpcError):
                    call(link, method, None, patience)

    with manager.operator() as operator:
        assert operator.list_devices() is not None


@pytest.mark.parametrize("half", HALVES, ids=lambda half: half.split(b" HTTP")[0].decode())
def test_browsers_who_go(manager: RunningManager, half: bytes) -> None:
    for patience in MOMENTS_S:
        with visited(manager) as connection:
            connection.sendall(half)
            time.sleep(patience)

    with visited(manager) as connection:
        connection.sendall(HALVES[1])
        assert connection.recv(12) == b"HTTP/1.1 200"


def visited(manager: RunningManager) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(manager.state.operator / "ca.pem"))
    host, _, port = manager.addresses.dashboard.rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=30)
    return context.wrap_socket(raw, server_hostname=host)
