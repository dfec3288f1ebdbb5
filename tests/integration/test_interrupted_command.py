"""What a command says whose user has enough of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from sealane_agent.cli.main import INTERRUPTED

if TYPE_CHECKING:
    from pathlib import Path


def test_a_command_of_a_device_that_ctrl_c_ends_says_so_by_its_exit_code(tmp_path: Path) -> None:
    token = tmp_path / "token"
    os.mkfifo(token)
    command = ["enroll", "--state", str(tmp_path / "state"), "--token-file", str(token)]
    # As in a terminal: what a shell starts in the background may ignore Ctrl-C.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from sealane_agent.cli.main import main; sys.exit(main({command}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    with token.open("w"):  # opens when the command does
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (INTERRUPTED, "")
