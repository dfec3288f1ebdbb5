"""`sealane serve` as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.layout import StateFolder

SEALANE = str(Path(sys.executable).parent / "sealane")
ANY_PORTS = (
    *("--fleet-port", "0", "--enrol-port", "0"),
    *("--operator-port", "0", "--dashboard-port", "0"),
)


@contextmanager
def started(state: StateFolder, *options: str, files: int = 0) -> Iterator[subprocess.Popen[str]]:
    """`sealane serve`, killed at the end if it still runs then; `files` it may open, 0 as ever."""
    limit = ["prlimit", f"--nofile={files}:{files}"] if files else []
    command = [*limit, SEALANE, "serve", str(state.root), *options]
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
