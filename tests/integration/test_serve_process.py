from __future__ import annotations

import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from sealane_manager.client import Operator
from support.manager import make_state
from support.served import ANY_PORTS, SEALANE, started, until_it_listens

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_manager_serves_until_it_is_asked_to_stop_and_then_stops_in_order(
    tmp_path: Path,
) -> None:
    state = make_state(tmp_path)
    with started(state, *ANY_PORTS) as process:
        addresses = until_it_listens(state, process)
        with Operator(state.operator) as operator:
            assert operator.list_devices() == ()

        process.send_signal(signal.SIGTERM)
        _out, said = process.communicate(timeout=60)

    assert process.returncode == 0, said
    assert set(addresses) == {"fleet", "enrol", "operator", "dashboard"}
    assert not state.addresses.exists()
    assert "Traceback" not in said


def test_a_killed_manager_starts_again_on_its_ports(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    with started(state, *ANY_PORTS) as process:
        addresses = until_it_listens(state, process)
    state.addresses.unlink()
    ports = [f"--{name}-port={at.rpartition(':')[2]}" for name, at in addresses.items()]

    with started(state, *ports) as again:
        assert until_it_listens(state, again) == addresses


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    state = make_state(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = str(taken.getsockname()[1])
        ports = (*ANY_PORTS, "--enrol-port", number)
        with started(state, *ports) as process:
            _out, said = process.communicate(timeout=60)

    assert process.returncode == 1
    assert f"the enrol port 127.0.0.1:{number} cannot be opened" in said
    assert "hint: choose another with --enrol-port" in said
    assert "Traceback" not in said


def test_a_folder_without_a_fleet_is_exit_code_1_and_names_init(tmp_path: Path) -> None:
    done = subprocess.run(
        [SEALANE, "serve", str(tmp_path / "nothing")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "sealane init" in done.stderr
    assert not (tmp_path / "nothing").exists()
