"""`sealane.client` against a real endpoint, over TCP and over its unix socket."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.client import Client, EndpointAway, EndpointRefused
from support.bundles import ROWS, tiny_answer
from support.endpoints import EndpointProcess, endpoint, lay_out

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    with endpoint(lay_out(tmp_path_factory.mktemp("state"), 1)) as running:
        yield running


@pytest.fixture(params=["tcp", "unix"])
def client(served: EndpointProcess, request: pytest.FixtureRequest) -> Iterator[Client]:
    near = f"unix:{served.folder.inference_socket}"
    with Client(served.rest if request.param == "tcp" else near) as made:
        yield made


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


@pytest.mark.parametrize(
    "answer",
    [
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
