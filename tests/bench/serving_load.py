"""Drives one door of a server with h2load and reads what came of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from serving_servers import Door

WARM_UP_S: Final = 0.5
_DONE: Final = re.compile(r"requests: .*?(\d+) succeeded, (\d+) failed, (\d+) errored")


@dataclass(frozen=True)
class Measured:
    """One round; times in microseconds."""

    per_second: float
    p50: float
    p99: float
    cpu: float
    failed: int


def drive(door: Door, clients: int, seconds: float) -> Measured:
    """A closed loop of so many clients, one request of each at a time; `cpu` is not known here."""
    with TemporaryDirectory() as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(door.body)
        command = [
            "h2load", f"--clients={clients}", f"--duration={round(seconds * 1000)}ms", "-m1",
            f"--warm-up-time={round(WARM_UP_S * 1000)}ms", f"--data={body}", f"--log-file={log}",
        ]  # fmt: skip
        if door.kind != "gRPC":
            command.append("--h1")
        command += [f"--header={header}" for header in door.headers]
        done = subprocess.run(
            [*command, *_target(door)], capture_output=True, check=False, text=True, timeout=60
        )
        found = _DONE.search(done.stdout)
        if not found or not log.exists():
            return Measured(0, np.nan, np.nan, 0, 1)
        rows = [line.split("\t") for line in log.read_text().splitlines()]
    answered = [int(row[2]) for row in rows if row[1] == "200"]
    failed = int(found[2]) + int(found[3]) + len(rows) - len(answered)
    if not answered:
        # On a loaded machine a round may end before its first answer: nothing failed by that.
        return Measured(0, np.nan, np.nan, 0, failed)
    p50, p99 = np.quantile(answered, (0.5, 0.99))
    return Measured(len(answered) / seconds, float(p50), float(p99), 0, failed)


def _target(door: Door) -> list[str]:
    if door.target.startswith("unix:"):
        return [f"--base-uri={door.target}", "http://sealane/v2/models/cam/infer"]
    return [door.target]
