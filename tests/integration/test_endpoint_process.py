"""The endpoint as a real process: swaps, kills, restarts, refusals and its end."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import numpy as np
import psutil
import pytest
from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.errors import Failed
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.runtimes.ability import ask_engine
from sealane_agent.serving.messages import Load
from sealane_agent.serving.types import LoadFailed
from support.endpoints import COMMAND, SLOT, EndpointProcess, endpoint, lay_out, tiny_pointer
from support.gpu_bundles import GPU, gpu_files, gpu_manifest
from support.under_load import linked, swap

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from sealane_agent.serving.messages import SlotStatus

pytestmark = pytest.mark.slow

BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)
FULL = """
import os, sys
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x" * 4096)
except BlockingIOError:
    os.set_blocking(2, True)
os.execv(sys.argv[1], sys.argv[1:])
"""
ANSWERS = {version: [7.5 + version, 8.75 + version, 10.0 + version] for version in range(1, 5)}


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return lay_out(tmp_path, 1, 2, 3)


@pytest.fixture
def running(state: StateFolder) -> Iterator[EndpointProcess]:
    with endpoint(state) as started:
        yield started


def ask(address: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address, timeout=60)
    try:
        connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def version_of(answer: tuple[int, Any]) -> int:
    """The version that an answer names, after checking that it is that version's answer."""
    status, content = answer
    assert status == 200, content
    version = int(content["model_version"])
    assert content["outputs"][0]["data"] == ANSWERS[version]
    return version


class Clients(threading.Thread):
    """Asks all the time on one connection; keeps every answer's version."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._stop_it = threading.Event()
        self.versions: list[int] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            while not self._stop_it.is_set():
                connection.request("POST", f"/v2/models/{SLOT}/infer", BODY)
                response = connection.getresponse()
                self.versions.append(version_of((response.status, json.loads(response.read()))))
        except BaseException as error:  # noqa: BLE001 - the test looks at whatever it was
            self.errors.append(error)
        finally:
            connection.close()

    def finish(self) -> list[int]:
        self._stop_it.set()
        self.join(30)
        assert not self.errors, self.errors
        return self.versions


def command(state: StateFolder, work: Callable[[EndpointLink], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        link = EndpointLink(state.control_socket)
        try:
            return await work(link)
        finally:
            await link.close()

    return asyncio.run(within())


async def switch(link: EndpointLink, version: int, *, probation: bool) -> None:
    proved = await link.load(Load(SLOT, tiny_pointer(version), 60))
    await link.activate(SLOT, proved.worker, probation=probation)


def workers(running: EndpointProcess) -> list[psutil.Process]:
    return list(psutil.Process(running.process.pid).children())


def test_it_serves_the_last_known_good_model_without_a_supervisor(running: EndpointProcess) -> None:
    assert version_of(ask(running.rest)) == 1


def test_large_requests_are_answered_alike_wherever_they_come_to_lie(
    running: EndpointProcess,
) -> None:
    """The first one of a head is parsed, the next ones are read to where the worker reads them."""
    one, other = (
        np.random.default_rng(seed).standard_normal((3000, 4), np.float32) for seed in (1, 2)
    )
    alone = http.client.HTTPConnection(running.rest, timeout=60)
    wanted = [ask_large(alone, rows, {"X-Alone": str(at)}) for at, rows in enumerate((one, other))]
    near = UnixConnection(str(running.folder.inference_socket))
    for connection in (alone, near):
        answers = [ask_large(connection, rows, {}) for rows in (one, other, one, other)]
        assert answers == wanted * 2
        connection.close()
    assert wanted[0] != wanted[1]


def ask_large(
    connection: http.client.HTTPConnection, rows: NDArray[np.float32], headers: dict[str, str]
) -> bytes:
    raw = rows.tobytes()
    described = {"name": "x", "datatype": "FP32", "shape": rows.shape}
    given = {**described, "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    connection.request("POST", f"/v2/models/{SLOT}/infer", head + raw, length | headers)
    response = connection.getresponse()
    content = response.read()
    assert response.status == 200, content
    return content


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("endpoint", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


def test_it_serves_the_active_model_when_no_other_is_known(state: StateFolder) -> None:
    state.pointer(SLOT, ACTIVE).write_bytes(tiny_pointer(2).encode())
    state.pointer(SLOT, LKG).write_bytes(b"{torn")
    with endpoint(state) as running:
        assert version_of(ask(running.rest)) == 2


def test_it_listens_with_nothing_to_serve(tmp_path: Path) -> None:
    with endpoint(lay_out(tmp_path)) as running:
        status, content = ask(running.rest)
        assert status == 404
        assert "the models are: none yet" in content["error"]


def test_swaps_between_real_workers_lose_no_request(
    running: EndpointProcess, state: StateFolder
) -> None:
    clients = [Clients(running.rest) for _ in range(3)]
    version_of(ask(running.rest))
    for client in clients:
        client.start()

    async def swap(link: EndpointLink) -> None:
        for version in (2, 3):
            await switch(link, version, probation=True)
            await asyncio.sleep(0.1)
            await link.settle(SLOT)
        await link.return_(SLOT)
        await asyncio.sleep(0.1)

    command(state, swap)
    for client in clients:
        versions = client.finish()
        assert {1, 2, 3} <= set(versions)
        assert versions[-1] == 2


def test_a_killed_worker_costs_no_request(running: EndpointProcess, state: StateFolder) -> None:
    assert version_of(ask(running.rest)) == 1
    client = Clients(running.rest)
    client.start()
    for _ in range(2):
        (worker,) = workers(running)
        worker.send_signal(signal.SIGSEGV)
        deadline = time.monotonic() + 60
        while [w.pid for w in workers(running)] in ([], [worker.pid]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert version_of(ask(running.rest)) == 1
    assert set(client.finish()) == {1}
    (slot,) = command(state, lambda link: link.status())
    assert slot.traffic.crashes == 2
    assert slot.traffic.requests > 2


def test_a_worker_killed_in_probation_is_replaced_by_the_previous_model_at_once(
    running: EndpointProcess, state: StateFolder
) -> None:
    assert version_of(ask(running.rest)) == 1
    command(state, lambda link: switch(link, 2, probation=True))
    old, new = sorted(workers(running), key=lambda worker: worker.create_time())
    client = Clients(running.rest)
    client.start()
    new.kill()
    new.wait(10)
    assert version_of(ask(running.rest)) == 1
    assert old.is_running()
    assert {1} <= set(client.finish())
    (slot,) = command(state, lambda link: link.status())
    assert slot.probation
    assert slot.traffic.crashes == 1
    assert slot.traffic.fallbacks >= 1


def test_the_supervisor_sees_what_serves_and_where(
    running: EndpointProcess, state: StateFolder
) -> None:
    async def look(link: EndpointLink) -> None:
        await switch(link, 2, probation=True)
        standby = await link.load(Load(SLOT, tiny_pointer(3), 60))
        seen = await link.whole_status()
        assert (seen.rest, seen.grpc) == (running.rest, running.grpc)
        (slot,) = seen.slots
        assert (slot.active, slot.previous) == (tiny_pointer(2), tiny_pointer(1))
        assert slot.standby == (standby.worker,)
        assert slot.probation
        assert standby.memory_bytes > 0
        await link.drop(SLOT, standby.worker)
        assert (await link.settle(SLOT)).standby == ()

    command(state, look)


def test_a_model_that_cannot_be_proved_changes_nothing(
    running: EndpointProcess, state: StateFolder
) -> None:
    golden = state.view(tiny_pointer(2).manifest) / "golden/output/y.bin"
    golden.write_bytes(bytes(golden.stat().st_size))

    async def refused(link: EndpointLink) -> None:
        with pytest.raises(LoadFailed) as caught:
            await link.load(Load(SLOT, tiny_pointer(2), 60))
        assert caught.value.failure.kind == "permanent"
        with pytest.raises(Failed):
            await link.activate(SLOT, "cam-9", probation=True)
        with pytest.raises(Failed):
            await link.return_(SLOT)

    command(state, refused)
    assert version_of(ask(running.rest)) == 1


def test_a_supervisor_that_dies_takes_nothing_with_it(
    running: EndpointProcess, state: StateFolder
) -> None:
    command(state, lambda link: switch(link, 2, probation=True))
    os.kill(running.process.pid, signal.SIGHUP)
    assert version_of(ask(running.rest)) == 2


def test_the_control_socket_is_its_owners_alone(
    running: EndpointProcess, state: StateFolder
) -> None:
    assert running.process.poll() is None
    assert stat.S_IMODE(state.control_socket.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(state.control_socket))
        rude.sendall(b"no json\n")
        assert rude.recv(10) == b""


def test_an_end_answers_what_was_asked_and_leaves_nothing(
    running: EndpointProcess, state: StateFolder
) -> None:
    assert version_of(ask(running.rest)) == 1
    children = workers(running)
    running.end()
    assert running.process.returncode == 0
    assert not any(child.is_running() for child in children)
    assert not state.control_socket.exists()
    assert not state.endpoint_addresses.exists()


def test_a_restart_serves_the_last_known_good_model(state: StateFolder) -> None:
    with endpoint(state) as running:
        command(state, lambda link: switch(link, 2, probation=True))
        running.process.kill()
        running.end()
    with endpoint(state) as again:
        assert version_of(ask(again.rest)) == 1


@pytest.mark.parametrize("option", ["--rest", "--grpc"])
def test_a_port_in_use_is_one_line_a_hint_and_exit_code_1(state: StateFolder, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = {"--rest": "127.0.0.1:0", "--grpc": "127.0.0.1:0", option: address}
        options = [part for pair in others.items() for part in pair]
        process = EndpointProcess(state, *options)
        _, said = process.process.communicate(timeout=60)
    assert process.process.returncode == 1
    error, hint = said.decode().splitlines()
    assert error == f"error: cannot listen on {address}: address already in use"
    assert hint == f"hint: free it, or choose with {option}"


def test_a_second_endpoint_on_the_same_folder_is_refused(
    running: EndpointProcess, state: StateFolder
) -> None:
    assert running.process.poll() is None
    second = EndpointProcess(state, "--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    _, said = second.process.communicate(timeout=60)
    assert second.process.returncode == 1
    assert said.decode().startswith("error: another endpoint serves ")


def test_a_log_that_nobody_reads_holds_up_no_answer_and_no_swap(state: StateFolder) -> None:
    with endpoint(state, command=(sys.executable, "-c", FULL, *COMMAND)) as running:
        assert ask(running.rest) == (200, ANY)
        linked(running, lambda link: swap(link, 2))
        assert ask(running.rest)[1]["model_version"] == "2"
        assert running.process.stderr
        os.read(running.process.stderr.fileno(), 1_000_000)
        linked(running, lambda link: swap(link, 3))
        assert "bytes of the log were lost" in running.end()


def test_a_listening_socket_can_be_given(state: StateFolder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        os.set_inheritable(given.fileno(), True)  # noqa: FBT003 - the interface of os
        address = f"127.0.0.1:{given.getsockname()[1]}"
        with endpoint(state, "--rest-fd", str(given.fileno())) as running:
            assert running.rest == address
            assert version_of(ask(address)) == 1


def test_a_kept_model_whose_gpu_is_gone_answers_on_the_cpu_and_says_so(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    pointer = Pointer(tiny_pointer(1).release, gpu_manifest(1).digest, GPU)
    for path, content in gpu_files(1).items():
        (folder.view(pointer.manifest) / path).parent.mkdir(parents=True, exist_ok=True)
        (folder.view(pointer.manifest) / path).write_bytes(content)
    for which in (ACTIVE, LKG):
        folder.pointer(SLOT, which).parent.mkdir(parents=True, exist_ok=True)
        folder.pointer(SLOT, which).write_bytes(pointer.encode())
    if "gpu" in ask_engine("onnxruntime").accelerators:
        pytest.skip("this machine has a GPU: nothing stands in for it")
    with endpoint(folder) as running:
        assert version_of(ask(running.rest)) == 1
        (status,) = asyncio.run(_statuses(folder))
        assert status.active == pointer
        assert f"not by {GPU} on the gpu: " in status.degraded
        assert "without CUDA" in status.degraded


async def _statuses(folder: StateFolder) -> tuple[SlotStatus, ...]:
    link = EndpointLink(folder.control_socket)
    try:
        return await link.status()
    finally:
        await link.close()
