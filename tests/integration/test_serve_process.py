from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sealane_manager.client import Operator
from support.manager import make_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.layout import StateFolder

pytestmark = pytest.mark.slow

SEALANE = str(Path(sys.executable).parent / "sealane")
ANY_PORTS = (
    *("--fleet-port", "0", "--enrol-port", "0"),
    *("--operator-port", "0", "--dashboard-port", "0"),
)


@contextmanager
def started(state: StateFolder, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`sealane serve`, killed at the end if it still runs then."""
    command = [SEALANE, "serve", str(state.root), *options]
    environment = os.environ | {"HOME": "/nonexistent"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def until_it_listens(state: StateFolder, process: subprocess.Popen[str]) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while not state.addresses.is_file():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it does not listen"
        time.sleep(0.02)
    found: dict[str, str] = json.loads(state.addresses.read_text())
    return found


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
