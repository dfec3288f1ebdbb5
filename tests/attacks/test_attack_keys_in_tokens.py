"""A device whose key lies in an HSM or a TPM: whoever copies its whole folder has no key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane_manager.desk import Pace
from support import tokens
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from support.manager import RunningManager

pytestmark = pytest.mark.slow

PATIENCE_S = 90
KINDS = [
    pytest.param(
        tokens.softhsm,
        id="softhsm",
        marks=pytest.mark.skipif(
            not (tokens.HAS_SOFTHSM or tokens.REQUIRED), reason="apt-get install softhsm2"
        ),
    ),
    pytest.param(
        tokens.tpm,
        id="tpm",
        marks=pytest.mark.skipif(
            not (tokens.HAS_TPM or tokens.REQUIRED),
            reason="apt-get install " + tokens.TPM_PACKAGES,
        ),
    ),
]


class Machine:
    """The agent's command line where a token is plugged in, or not."""

    def __init__(self, state: Path, environment: Mapping[str, str]) -> None:
        self.state, self.environment = state, {**os.environ, **environment}

    @property
    def log(self) -> str:
        return self.state.with_suffix(".log").read_text(errors="replace")

    def enrol(self, manager: RunningManager, uri: str) -> subprocess.CompletedProcess[str]:
        options = ("--name", "press-7", "--token", manager.token().encode(), "--key-store", uri)
        command = self._command("enroll", "--state", str(self.state), *options)
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def start(self) -> subprocess.Popen[bytes]:
        ports = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
        command = self._command("run", "--state", str(self.state), *ports)
        with self.state.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stderr=log
            )

    def says(self, text: str, process: subprocess.Popen[bytes], times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.log.count(text) < times:
            assert process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    @staticmethod
    def _command(*words: str) -> list[str]:
        return [sys.executable, "-m", "sealane_agent.cli.main", *words]


@pytest.mark.parametrize("plugged", KINDS)
def test_a_key_in_a_token_enrols_verifies_and_renews_and_never_lies_on_the_disk(
    plugged: Callable[[Path], AbstractContextManager[tuple[str, dict[str, str]]]], tmp_path: Path
) -> None:
    pace = Pace(certificate_life=timedelta(seconds=12))
    with (
        plugged(tmp_path / "token") as (uri, environment),
        running_manager(tmp_path / "manager", pace=pace) as manager,
    ):
        machine = Machine(tmp_path / "device", environment)
        done = machine.enrol(manager, uri)
        assert done.returncode == 0, done.stderr
        running = machine.start()
        try:
            machine.says("document accepted", running)
            machine.says("certificate renewed", running)
            machine.says("session open", running, times=2)
        finally:
            running.terminate()
            running.wait(PATIENCE_S)
        thief = Machine(tmp_path / "loot", {})
        shutil.copytree(machine.state, thief.state, ignore=shutil.ignore_patterns("*.sock"))
        for path in thief.state.rglob("*"):
            assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes(), path
    stolen = thief.start()
    assert stolen.wait(PATIENCE_S) != 0
    assert "the token edge does not answer as it should" in thief.log


@pytest.mark.parametrize(
    ("uri", "complaint"),
    [
        ("hsm:edge", "does not begin with pkcs11:"),
        ("pkcs11:token=edge", "needs a token, a module-path and a pin-source"),
        ("pkcs11:token=edge;colour=red?module-path=/x&pin-source=file:/y", "'colour' is not known"),
        ("pkcs11:token=edge?module-path=/nowhere.so&pin-source=file:/nowhere", "does not answer"),
    ],
)
def test_a_key_store_that_cannot_be_used_is_named_before_anything_is_asked(
    tmp_path: Path, uri: str, complaint: str
) -> None:
    with running_manager(tmp_path / "manager") as manager:
        done = Machine(tmp_path / "device", {}).enrol(manager, uri)
        with manager.operator() as operator:
            assert operator.list_devices() == ()
    assert done.returncode != 0
    assert complaint in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr
