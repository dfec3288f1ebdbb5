"""`sealane.client` against a real endpoint, over TCP and over its unix socket."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.client import Client, EndpointAway, EndpointRefused
from sealane.shared_memory import FOLDER
from support.bundles import ROWS, tiny_answer
from support.endpoints import COMMAND, EndpointProcess, endpoint, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SHARING = ("env", "SEALANE_AGENT_ENDPOINT_SHARED_MEMORY=true", *COMMAND)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1)) as running:
        yield running


@pytest.fixture(scope="module")
def sharing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("sharing"), 1), command=SHARING) as running:
        yield running


@pytest.fixture(params=["tcp", "unix"])
def client(served: EndpointProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    near = f"unix:{served.folder.inference_socket}"
    with Client(served.rest if request.param == "tcp" else near) as made:
        yield made


@pytest.fixture(params=["tcp", "unix"])
def near(sharing: EndpointProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of an endpoint that may be given shared memory."""
    unix = f"unix:{sharing.folder.inference_socket}"
    with Client(sharing.rest if request.param == "tcp" else unix) as made:
        yield made


def regions_of(client: Client) -> list[str]:
    """Files of shared memory that this client made."""
    names = [region.name for region in client._regions]
    return [name for name in names if (FOLDER / name).exists()]


def test_arrays_go_in_and_the_models_own_answer_comes_out(client: Client) -> None:
    for count in (1, 2, 4, 2, 1):
        answer = client.infer("cam", {"x": ROWS[:count]})
        np.testing.assert_allclose(answer.outputs["y"], tiny_answer(ROWS[:count]), rtol=1e-5)
        assert answer.version == 1
    assert client.ready("cam")
    assert not client.ready("nobody")
    assert client.describe("cam")["versions"] == ["1"]


def test_an_array_that_is_not_in_order_is_sent_as_if_it_were(client: Client) -> None:
    turned = np.asfortranarray(ROWS)
    answer = client.infer("cam", {"x": turned}, version=1)
    np.testing.assert_allclose(answer.outputs["y"], tiny_answer(ROWS), rtol=1e-5)


def test_what_is_refused_is_said_and_the_connection_goes_on(client: Client) -> None:
    with pytest.raises(EndpointRefused, match="the models are: cam") as unknown:
        client.infer("nobody", {"x": ROWS})
    assert unknown.value.status == 404
    with pytest.raises(EndpointRefused, match="no such version"):
        client.infer("cam", {"x": ROWS}, version=9)
    with pytest.raises(EndpointRefused, match="no input 'z'"):
        client.infer("cam", {"z": ROWS})
    with pytest.raises(EndpointRefused):
        client.describe("nobody")
    with pytest.raises(ValueError, match="which no model takes"):
        client.infer("cam", {"x": np.array([1j])})
    with pytest.raises(EndpointRefused, match="BYTES"):
        client.infer("cam", {"x": np.array(["a"])})
    assert client.infer("cam", {"x": ROWS}).version == 1


def test_threads_that_share_a_client_get_their_own_answers(client: Client) -> None:
    wrong: list[int] = []

    def ask(row: int) -> None:
        for _ in range(50):
            answer = client.infer("cam", {"x": ROWS[row : row + 1]}).outputs["y"]
            if not np.allclose(answer, tiny_answer(ROWS[row : row + 1])):
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_tensors_in_shared_memory_are_not_sent_and_answers_are_written_there(near: Client) -> None:
    given, answer = near.shared((4, 4), "float32"), near.shared((4, 3), "float32")
    for count in (4, 2, 4):
        given[:count] = ROWS[:count] * count
        seen = near.infer("cam", {"x": given[:count]}, into={"y": answer})
        assert np.shares_memory(seen.outputs["y"], answer)
        np.testing.assert_allclose(answer[:count], tiny_answer(ROWS[:count] * count), rtol=1e-5)
        assert seen.outputs["y"].shape == (count, 3)
        sent = near.infer("cam", {"x": given[:count]}).outputs["y"]
        np.testing.assert_array_equal(sent, seen.outputs["y"])


def test_a_part_that_is_not_in_order_is_sent_and_what_is_not_shared_is_not_written_into(
    near: Client,
) -> None:
    turned = near.shared((4, 4), "float32").T
    turned[:] = ROWS
    answer = near.infer("cam", {"x": turned}).outputs["y"]
    np.testing.assert_allclose(answer, tiny_answer(ROWS), rtol=1e-5)
    with pytest.raises(ValueError, match="`shared` made"):
        near.infer("cam", {"x": ROWS}, into={"y": np.zeros((4, 3), np.float32)})
    with pytest.raises(ValueError, match="FP32, not int32"):
        near.infer("cam", {"x": ROWS}, into={"y": near.shared((4, 3), "int32")})
    with pytest.raises(EndpointRefused, match="does not fit"):
        near.infer("cam", {"x": ROWS}, into={"y": near.shared((1, 3), "float32")})


def test_shared_memory_is_the_owners_to_allow(client: Client) -> None:
    with pytest.raises(EndpointRefused, match=r"endpoint\.shared_memory") as refused:
        client.shared((4, 4), "float32")
    assert refused.value.status == 403
    assert not regions_of(client)


def test_shared_memory_survives_the_connection_and_goes_with_the_client(near: Client) -> None:
    given = near.shared((4, 4), "float32")
    given[:] = ROWS
    for _ in range(2):
        assert near.infer("cam", {"x": given}).version == 1
        assert near._connection
        near._connection.shutdown(socket.SHUT_RDWR)
    names = regions_of(near)
    assert len(names) == 1
    near.close()
    assert not (FOLDER / names[0]).exists()
    answer = near.infer("cam", {"x": given}).outputs["y"]
    np.testing.assert_allclose(answer, tiny_answer(ROWS), rtol=1e-5)


MAKER = """
import os, signal, sys
from sealane.client import Client
client = Client(sys.argv[1])
client.shared((4, 4), "float32")
print(client._regions[0].name, flush=True)
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
FORKED = """
if (child := os.fork()) == 0:
    sys.exit()
os.waitpid(child, 0)
os.stat(f"/dev/shm/{client._regions[0].name}")
"""


def left_by(running: EndpointProcess, end: str) -> tuple[Path, int]:
    """The file of a region made in another process, and how that ended."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKER + end, running.rest],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    return FOLDER / done.stdout.strip(), done.returncode


def test_what_a_killed_client_left_behind_is_removed_by_the_next(
    sharing: EndpointProcess, near: Client
) -> None:
    near.shared((1,), "uint8")
    left, status = left_by(sharing, KILLED)
    assert (left.exists(), status) == (True, -signal.SIGKILL)
    near.shared((1,), "uint8")
    assert not left.exists()
    assert len(regions_of(near)) == 2


def test_a_fork_takes_no_memory_away_and_the_clients_own_end_does(
    sharing: EndpointProcess,
) -> None:
    left, status = left_by(sharing, FORKED)
    assert (left.exists(), status) == (False, 0)


def test_nobody_there_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(EndpointAway, match="no answer from"):
        client.infer("cam", {"x": ROWS})
    with Client("unix:/nowhere") as client, pytest.raises(EndpointAway, match="no such file"):
        client.infer("cam", {"x": ROWS})


def test_a_kept_connection_that_ended_is_made_again_and_a_second_end_is_told() -> None:
    """A server that answers one request of each of two connections, then ends at once."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answers in (1, 1, 0):
                connection, _ = listener.accept()
                with connection:
                    for _ in range(answers):
                        connection.recv(65536)
                        connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        with Client(f"127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.ready("cam")
            assert client.ready("cam")
            with pytest.raises(EndpointAway):
                client.ready("cam")
        serving.join()


def test_who_takes_a_request_and_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            Client(address, timeout_s=0.05) as client,
            pytest.raises(EndpointAway, match=r"nothing came within 0\.05 s"),
        ):
            client.ready("cam")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"rubbish\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"x" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_not_believed(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with Client(address) as client, pytest.raises(EndpointAway):
            client.ready("cam")
        serving.join()
