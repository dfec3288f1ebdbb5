"""A real agent against a real manager: supervisor, endpoint and worker processes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from sealane_agent.layout import StateFolder
from support.machines import Machine, agent, answer, enrolled, roll_out, wait_for
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.manager import RunningManager

pytestmark = pytest.mark.slow


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[RunningManager]:
    with running_manager(tmp_path / "manager") as started:
        yield started


@pytest.fixture
def machine(tmp_path: Path, manager: RunningManager) -> Iterator[Machine]:
    with enrolled(manager, tmp_path / "device") as made:
        yield made


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def all_over(manager: RunningManager) -> bool:
    with manager.operator() as operator:
        return all(rollout.ended_at for rollout in operator.list_rollouts())


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
    wait_for("the manager's word", lambda: all_over(manager))
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
    assert second.returncode == 3
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
