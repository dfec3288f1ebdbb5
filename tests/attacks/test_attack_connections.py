"""Strangers hold connections: devices are answered all the same, and nothing of it lasts."""

from __future__ import annotations

import http.client
import resource
import socket
import ssl
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_manager.crowd import crowd_of
from sealane_manager.dashboard import connections
from sealane_manager.dashboard.connections import HEAD_BYTES
from sealane_manager.doors import FILES, Addresses, open_files
from support.device import enrol
from support.machines import wait_for
from support.manager import RunningManager, make_state, running_manager
from support.served import ANY_PORTS, started, until_it_listens

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.device import Device

MANY = 250
FEW_FILES = 512
HEAD = b"GET /login HTTP/1.1\r\nhost: localhost\r\n"


@contextmanager
def strangers(address: str, count: int = MANY) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing."""
    host, _, port = address.rpartition(":")
    with ExitStack() as held:
        yield [
            held.enter_context(socket.create_connection((host, int(port)), timeout=10))
            for _ in range(count)
        ]


def answers(device: Device) -> bool:
    with device.session() as session:
        return bool(session.greet())


def shows_a_page(running: RunningManager) -> bool:
    with suppress(OSError), visited(running) as connection:
        connection.sendall(HEAD + b"\r\n")
        return connection.recv(12) == b"HTTP/1.1 200"
    return False


def visited(running: RunningManager) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(running.state.operator / "ca.pem"))
    host, _, port = running.addresses.dashboard.rpartition(":")
    raw = socket.create_connection((host, int(port)), timeout=30)
    return context.wrap_socket(raw, server_hostname=host)


@pytest.mark.slow
def test_strangers_at_every_other_port_keep_no_device_out(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    with started(state, *ANY_PORTS, files=FEW_FILES) as process:
        running = RunningManager(state, Addresses(**until_it_listens(state, process)))
        token = running.token(uses=2)
        device = enrol(token, "box-1")
        places = running.addresses
        with ExitStack() as held:
            for at in (places.dashboard, places.enrol, places.operator):
                held.enter_context(strangers(at))
            assert answers(device)
            with pytest.raises(grpc.RpcError):
                enrol(token, "box-2")

        wait_for("the dashboard", lambda: shows_a_page(running))
        assert answers(enrol(token, "box-2"))


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def test_a_head_that_never_ends_is_cut_off(manager: RunningManager) -> None:
    with visited(manager) as connection:
        connection.sendall(HEAD)
        with pytest.raises(OSError, match=r"reset|[Bb]roken|EOF"):
            send_on_and_on(connection)


def send_on_and_on(connection: ssl.SSLSocket) -> None:
    for _ in range(1000):
        connection.sendall(b"x: " + b"y" * (HEAD_BYTES // 16) + b"\r\n")


def test_heads_within_the_limit_are_answered_one_after_the_other(manager: RunningManager) -> None:
    host, _, port = manager.addresses.dashboard.rpartition(":")
    context = ssl.create_default_context(cafile=str(manager.state.operator / "ca.pem"))
    browser = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
    for _ in range(3):
        browser.request("GET", "/login", headers={"x": "y" * (HEAD_BYTES // 2)})
        answer = browser.getresponse()
        assert (answer.status, b"</html>" in answer.read()) == (200, True)
    browser.close()


@pytest.mark.parametrize("said", [b"", HEAD], ids=["nothing", "half a head"])
def test_who_says_nothing_or_half_is_sent_away(
    manager: RunningManager, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    with visited(manager) as connection:
        connection.sendall(said)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_who_begins_no_tls_is_sent_away(
    manager: RunningManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.2)
    with strangers(manager.addresses.dashboard, 1) as (one,), suppress(ConnectionResetError):
        assert one.recv(1) == b""


@given(st.integers(256, 1_000_000))
def test_most_connections_are_for_devices_and_files_are_left_for_the_rest(files: int) -> None:
    crowd = crowd_of(files)
    others = crowd.enrol + crowd.operator + crowd.dashboard
    assert crowd.fleet > others
    assert min(crowd.enrol, crowd.operator, crowd.dashboard) > 0
    assert crowd.fleet + others <= files * 13 // 16


def test_the_manager_may_open_the_files_that_it_needs_where_the_system_lets_it() -> None:
    found = open_files()
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found == allowed
    assert allowed >= FILES or allowed == most
