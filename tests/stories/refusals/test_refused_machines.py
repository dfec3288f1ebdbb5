"""Names, tokens, folders and ports that are taken already."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from demo_story.processes import BIN, wait_for
from support.stories import contents
from support.story_plant import StoryPlant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stories.refusals.conftest import Line

pytestmark = pytest.mark.slow


@contextmanager
def _taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _devices(line: Line) -> list[str]:
    rows = json.loads(line.plant.processes.sealane("device", "list", "-o", "json"))
    return [row["id"] for row in rows]


def test_a_join_token_makes_one_device_and_no_second_one(line: Line, tmp_path: Path) -> None:
    token = line.plant.processes.sealane("device", "token").strip()
    first, second = tmp_path / "first", tmp_path / "second"
    line.plant.processes.agent("enroll", "--state", str(first), "--name", "once", "--token", token)
    found = line.refused(
        *("sealane-agent", "enroll", "--state", str(second), "--name", "twice"),
        *("--token", token),
    )
    assert found.code == 3
    assert found.error == "the join token is not valid: it is unknown, used up or expired"
    assert found.hint == "make a new one with `sealane device token`"
    assert not (second / "identity" / "device.json").exists()
    assert "twice" not in _devices(line)
    line.goes_on()


def test_a_second_device_of_the_same_name_is_refused_and_its_token_still_good(
    line: Line, tmp_path: Path
) -> None:
    token = line.plant.processes.sealane("device", "token").strip()
    state = str(tmp_path / "double")
    before = _devices(line)
    found = line.refused(
        "sealane-agent", "enroll", "--state", state, "--name", "box-1", "--token", token
    )
    assert found.code == 3
    assert found.error == "another device is called box-1 already"
    assert "choose another name" in found.hint
    assert _devices(line) == before
    line.plant.processes.agent("enroll", "--state", state, "--name", "other", "--token", token)
    line.goes_on()


def test_a_second_supervisor_leaves_the_state_folder_alone(line: Line) -> None:
    state = line.plant.folder / "box-1"
    before = contents(state / "identity"), contents(state / "slots")
    found = line.refused("sealane-agent", "run", "--state", str(state))
    assert found.code == 3
    assert found.error == f"another agent runs on {state}"
    assert found.hint == "stop it first, or use another --state folder"
    assert (contents(state / "identity"), contents(state / "slots")) == before
    line.goes_on()


def test_a_manager_whose_port_is_taken_says_which(line: Line, tmp_path: Path) -> None:
    other = StoryPlant(tmp_path)
    other.init()
    with _taken_port() as port:
        found = line.refused("sealane", "serve", str(other.state), "--fleet-port", str(port))
    assert found.code == 1
    assert (
        found.error == f"the fleet port 127.0.0.1:{port} cannot be opened: Address already in use"
    )
    assert "--fleet-port" in found.hint
    assert not (other.state / "run" / "serve.json").exists()


def test_a_second_manager_leaves_the_state_folder_alone(line: Line) -> None:
    found = line.refused("sealane", "serve", str(line.plant.state), "--fleet-port", "0")
    assert found.code == 3
    assert found.error == f"another manager runs on {line.plant.state}"
    line.goes_on()


def test_an_endpoint_whose_port_is_taken_says_which(line: Line, tmp_path: Path) -> None:
    with _taken_port() as port:
        found = line.refused(
            *("sealane-agent", "endpoint", "--state", str(tmp_path / "box")),
            *("--rest", f"127.0.0.1:{port}", "--grpc", "127.0.0.1:0"),
        )
    assert found.code == 1
    assert found.error == f"cannot listen on 127.0.0.1:{port}: address already in use"
    assert found.hint == "free it, or choose with --rest"


def test_a_supervisor_whose_endpoint_finds_its_port_taken_says_so_once_and_waits_for_it(
    line: Line,
) -> None:
    plant = line.plant
    plant.enrol("box-2")
    state, log = plant.folder / "box-2", plant.folder / "logs" / "box-2.log"
    with _taken_port() as port:
        plant.processes.start(
            "box-2",
            *(str(BIN / "sealane-agent"), "run", "--state", str(state)),
            *("--rest", f"127.0.0.1:{port}", "--grpc", "127.0.0.1:0"),
        )
        started = state / "log" / "endpoint.log"
        wait_for(
            "two tries",
            lambda: (started.is_file() and started.read_text().count("error: ") >= 2) or None,
        )
        said = [line for line in log.read_text().splitlines() if "endpoint does not start" in line]
        assert len(said) == 1
        assert f"cannot listen on 127.0.0.1:{port}: address already in use" in said[0]
        assert "free it, or choose with --rest" in said[0]
    assert plant.endpoint("box-2")["rest"] == f"127.0.0.1:{port}"
