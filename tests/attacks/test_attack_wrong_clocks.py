"""Machines whose clock is wrong by decades: the real agent, under libfaketime."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.manager import running_manager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.manager import RunningManager

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
PATIENCE_S = 60
CLOCKS = {
    "1970": "@1970-01-01 00:10:00",
    "2106": "@2106-02-07 06:28:15",
    "60 days behind": "-60d",
    "60 days ahead": "+60d",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        LIBRARY is None and os.environ.get("SEALANE_DEBIAN") != "required",
        reason="libfaketime is not installed: apt-get install faketime",
    ),
]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningManager]:
    with running_manager(tmp_path_factory.mktemp("manager")) as running:
        yield running


def agent(clock: str, *arguments: str) -> subprocess.Popen[str]:
    """The agent's command line on a machine with this clock."""
    assert LIBRARY is not None
    environment = os.environ | {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME": CLOCKS[clock],
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
    command = [sys.executable, "-m", "sealane_agent.cli.main", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """What it says, up to the line with this text."""
    assert process.stdout is not None
    lines: list[str] = []
    deadline = time.monotonic() + PATIENCE_S
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
        assert time.monotonic() < deadline, "".join(lines)
    raise AssertionError(f"it ended before {text!r}: {''.join(lines)}")


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_device_with_a_wrong_clock_enrols_and_verifies_at_the_directors_time(
    manager: RunningManager, tmp_path: Path, clock: str
) -> None:
    name = f"clock-{clock.replace(' ', '-')}"
    options = ("--name", name, "--token", manager.token().encode())
    with agent(clock, "enroll", "--state", str(tmp_path), *options) as enrolling:
        said = enrolling.communicate(timeout=PATIENCE_S)[0]
        assert enrolling.returncode == 0, said
    ports = ("--rest", "127.0.0.1:0", "--grpc", "127.0.0.1:0")
    with agent(clock, "run", "--state", str(tmp_path), *ports) as running:
        try:
            lines = until(running, "clock wrong")
        finally:
            running.terminate()
            running.communicate(timeout=PATIENCE_S)
    assert "timedatectl" in lines[-1], lines
    assert ("behind" in lines[-1]) == (clock in ("1970", "60 days behind")), lines
    assert [line for line in lines if "document accepted" in line], lines
    assert not [line for line in lines if "refused" in line], lines
