"""What a command says whose user has enough of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from sealane_agent.cli.main import INTERRUPTED

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 4
TRY_S = 15.0


def test_a_command_of_a_device_that_ctrl_c_ends_says_so_by_its_exit_code(tmp_path: Path) -> None:
    token = tmp_path / "token"
    os.mkfifo(token)
    command = ["enroll", "--state", str(tmp_path / "state"), "--token-file", str(token)]
    program = f"import sys; from sealane_agent.cli.main import main; sys.exit(main({command}))"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    with token.open("w"):  # opens when the command does
        said = interrupted(process)
    assert (process.returncode, said) == (INTERRUPTED, "")


def interrupted(process: subprocess.Popen[str]) -> str:
    """What it said; whom Ctrl-C reaches just before it begins to wait needs another one."""
    for _ in range(TRIES):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=TRY_S)[1]
    process.kill()
    raise AssertionError(process.communicate())
