"""A real agent renews short certificates over real TLS: killed in between, and expired."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sealane.trust.identity import load_certificate
from sealane_agent.config import IdentityFiles
from sealane_agent.layout import StateFolder
from sealane_manager.desk import Pace
from support import machines
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.manager import RunningManager

pytestmark = pytest.mark.slow

wait_for = partial(machines.wait_for, every_s=0.005)
"""Steps of a renewal are short."""


@dataclass
class Machine:
    """One machine with its agent, and what the agent says."""

    manager: RunningManager
    state: Path

    @property
    def files(self) -> IdentityFiles:
        return IdentityFiles(StateFolder(self.state).identity)

    @property
    def log(self) -> str:
        return self.state.with_suffix(".log").read_text()

    @property
    def serial(self) -> int:
        return load_certificate(self.files.certificate.read_bytes()).serial_number

    def enrol(self) -> subprocess.CompletedProcess[str]:
        token = self.manager.token().encode()
        arguments = ("enroll", "--state", str(self.state), "--name", "press-7", "--token", token)
        return machines.agent(*arguments)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.state.with_suffix(".log").open("ab") as log:
            command = machines.command("run", "--state", str(self.state), *machines.ANY_PORTS)
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def view(self) -> tuple[bool, str]:
        with self.manager.operator() as operator:
            (device,) = operator.list_devices()
        return device.connected, device.state


@contextmanager
def machine(folder: Path, life_s: float) -> Iterator[Machine]:
    pace = Pace(certificate_life=timedelta(seconds=life_s))
    with running_manager(folder / "manager", pace=pace) as manager:
        made = Machine(manager, folder / "device")
        done = made.enrol()
        assert done.returncode == 0, done.stderr
        yield made


def test_an_agent_that_is_killed_in_the_middle_of_a_renewal_goes_on_with_the_next_key(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, life_s=18) as device:
        first = device.serial
        with device.running() as process:
            wait_for("a renewal", device.files.next_key.exists)
            process.kill()
        with device.running():
            second = wait_for("the next one", lambda: device.serial != first and device.serial)
            wait_for("its session", lambda: device.view() == (True, "active"))
            wait_for("the one after it", lambda: device.serial not in {first, second})
            wait_for("its session", lambda: device.view() == (True, "active"))
        assert not device.files.next_key.exists()
        assert "certificate renewed" in device.log
        assert "Traceback" not in device.log


def test_an_agent_whose_certificate_has_expired_proves_who_it_is_and_goes_on(
    tmp_path: Path,
) -> None:
    with machine(tmp_path, life_s=8) as device:
        again = device.enrol()
        assert again.returncode == 3
        assert "enrolled already, as device press-7" in again.stderr
        ends = load_certificate(device.files.certificate.read_bytes()).not_valid_after_utc
        time.sleep(max(0.0, ends.timestamp() - time.time()))
        with device.running():
            wait_for("the line", lambda: "certificate renewed after its end" in device.log)
            wait_for("a session", lambda: "session open" in device.log)
            assert device.view()[1] == "active"
