"""A real agent against a real manager: supervisor, endpoint and worker processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane_agent.layout import StateFolder
from sealane_manager.bundle.publish import PublishOrder, publish
from sealane_manager.rollout.types import RolloutSpec, Stage
from sealane_manager.trust.keys import key_path, load_signer
from support.bundles import TINY_MODEL, tiny_bundle
from support.manager import FAMILY, SLOT, RunningManager, running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0
ANY_PORTS = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
BODY = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "sealane_agent.cli.main", *arguments]


def agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def wait_for(what: str, found: Callable[[], Any]) -> Any:
    """Poll until something is true."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = found()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


@dataclass
class Machine:
    """One machine with its agent."""

    state: Path
    supervisor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.supervisor is None or self.supervisor.poll() is not None:
            self.start()
        self.stop()

    @property
    def log(self) -> Path:
        return self.state.with_suffix(".log")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.supervisor = subprocess.Popen(
                [
                    *command("run", "--state", str(self.state), "--rest", "127.0.0.1:0"),
                    "--grpc",
                    "127.0.0.1:0",
                ],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.supervisor is not None
        self.supervisor.kill()
        self.supervisor.wait(10)

    def stop(self) -> int:
        assert self.supervisor is not None
        self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(60)

    def status(self) -> dict[str, Any]:
        shown = agent("status", "--state", str(self.state), "--output", "json")
        assert shown.returncode == 0, shown.stderr
        found: dict[str, Any] = json.loads(shown.stdout)
        return found

    def serves(self, release: str) -> bool:
        return any(
            slot["serves"] == release and slot["state"] == "committed"
            for slot in self.status()["slots"]
        )

    def endpoint(self) -> dict[str, Any]:
        """What the endpoint says of itself; nothing while one starts."""
        path = StateFolder(self.state).endpoint_addresses
        found: dict[str, Any] = wait_for(
            "an endpoint", lambda: json.loads(path.read_text()) if path.is_file() else None
        )
        return found

    def ask(self) -> tuple[int, list[float]]:
        connection = http.client.HTTPConnection(self.endpoint()["rest"], timeout=30)
        try:
            connection.request("POST", "/v2/models/cam/infer", BODY)
            response = connection.getresponse()
            answer = json.loads(response.read())
            return response.status, answer["outputs"][0]["data"]
        finally:
            connection.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[RunningManager]:
    with running_manager(tmp_path / "manager") as started:
        yield started


@pytest.fixture
def machine(tmp_path: Path, manager: RunningManager) -> Iterator[Machine]:
    with enrolled(manager, tmp_path / "device") as made:
        yield made


def enrolled(manager: RunningManager, state: Path) -> Machine:
    """A machine that has just become a device."""
    token = manager.token().encode()
    done = agent("enroll", "--state", str(state), "--name", "press-7", "--token", token)
    assert done.returncode == 0, done.stderr
    return Machine(state)


def roll_out(manager: RunningManager, folder: Path, version: int) -> None:
    """Publish a version that is watched for a second, and send it to every device."""
    release = ReleaseName(TINY_MODEL, version)
    layout = tiny_bundle(folder / f"bundle-{version}", version, ProbationLimits(seconds=1))
    signer = load_signer(key_path(manager.state.keys, FAMILY))
    with manager.operator() as operator:
        publish(PublishOrder(layout, release, (SLOT,), {}), operator, signer, lambda *_: None)
        spec = RolloutSpec(release, SLOT, "", (Stage(percent=100),), timedelta(0))
        operator.create_rollout(spec)


def answer(version: int) -> list[float]:
    return [7.5 + version, 8.75 + version, 10.0 + version]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_release_is_served_after_one_rollout(
    manager: RunningManager, machine: Machine, tmp_path: Path
) -> None:
    machine.start()
    roll_out(manager, tmp_path, 1)
    wait_for("release 1", lambda: machine.serves("demo/tiny@1"))
    assert machine.ask() == (200, answer(1))
    assert machine.stop() == 0
    assert not is_alive_or_listens(machine), "the endpoint ends with its supervisor"


def is_alive_or_listens(machine: Machine) -> bool:
    return StateFolder(machine.state).endpoint_addresses.exists()


def test_the_line_goes_on_when_the_supervisor_is_killed(
    manager: RunningManager, machine: Machine, tmp_path: Path
) -> None:
    machine.start()
    roll_out(manager, tmp_path, 1)
    wait_for("release 1", lambda: machine.serves("demo/tiny@1"))
    endpoint = machine.endpoint()["pid"]
    machine.kill()
    assert machine.ask() == (200, answer(1))
    assert machine.status()["supervisor"] is False
    roll_out(manager, tmp_path, 2)
    machine.start()
    wait_for("release 2", lambda: machine.serves("demo/tiny@2"))
    assert machine.endpoint()["pid"] == endpoint, "it was adopted, not started again"
    assert machine.ask() == (200, answer(2))


def test_a_killed_endpoint_is_started_again_where_it_was(
    manager: RunningManager, machine: Machine, tmp_path: Path
) -> None:
    machine.start()
    roll_out(manager, tmp_path, 1)
    wait_for("release 1", lambda: machine.serves("demo/tiny@1"))
    before = machine.endpoint()
    os.kill(before["pid"], signal.SIGKILL)
    wait_for("a new endpoint", lambda: machine.endpoint()["pid"] != before["pid"])
    assert machine.endpoint()["rest"] == before["rest"]
    assert machine.ask() == (200, answer(1))


def test_without_a_manager_the_last_known_good_is_served_from_a_cold_start(tmp_path: Path) -> None:
    with running_manager(tmp_path / "manager") as manager:
        machine = enrolled(manager, tmp_path / "device")
        machine.start()
        roll_out(manager, tmp_path, 1)
        wait_for("release 1", lambda: machine.serves("demo/tiny@1"))
        assert machine.stop() == 0
    with machine:
        machine.start()
        wait_for("the endpoint", StateFolder(machine.state).endpoint_addresses.exists)
        assert machine.ask() == (200, answer(1))
        wait_for("one clear line", lambda: "session lost" in machine.log.read_text())
        assert "Traceback" not in machine.log.read_text()


def test_a_second_agent_on_the_same_state_is_refused(machine: Machine) -> None:
    machine.start()
    wait_for("the endpoint", StateFolder(machine.state).endpoint_addresses.exists)
    second = agent("run", "--state", str(machine.state))
    assert second.returncode == 1
    assert second.stderr.startswith("error: another agent runs on")
    assert "hint:" in second.stderr


def test_a_token_enrols_one_machine_once(manager: RunningManager, tmp_path: Path) -> None:
    token = manager.token().encode()
    first = agent("enroll", "--state", str(tmp_path / "one"), "--token", token)
    assert first.returncode == 0, first.stderr
    again = agent("enroll", "--state", str(tmp_path / "one"), "--token", token)
    assert again.returncode == 3
    assert "enrolled already" in again.stderr
    other = agent("enroll", "--state", str(tmp_path / "two"), "--token", token)
    assert other.returncode == 3
    assert other.stderr.startswith("error: ")
    assert not (tmp_path / "two" / "identity" / "device.json").exists()


def test_a_manager_that_does_not_answer_is_exit_code_four(tmp_path: Path) -> None:
    with running_manager(tmp_path / "manager") as manager:
        token = manager.token().encode()
    done = agent("enroll", "--state", str(tmp_path / "one"), "--token", token)
    assert done.returncode == 4
    assert "does not answer" in done.stderr


def test_a_damaged_token_is_a_usage_error(tmp_path: Path) -> None:
    done = agent("enroll", "--state", str(tmp_path / "one"), "--token", "slj1_nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the join token is cut off or changed")


def test_a_machine_that_is_not_enrolled_says_what_to_do(tmp_path: Path) -> None:
    done = agent("run", "--state", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "sealane-agent enroll" in done.stderr
