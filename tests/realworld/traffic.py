"""The stock client on every device's machine, all the time; each request is written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo_story import report
from realworld.machine import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from realworld.machine import Box

SCRIPTS: Final = Path(__file__).parents[2] / "scripts"
REST: Final = ("rest", "127.0.0.1:8000")
GRPC: Final = ("grpc", "127.0.0.1:8001")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests while a block runs.

    Attributes:
        logs: by the device's name.
    """

    logs: Mapping[str, Path]

    def requests(self) -> list[report.Request]:
        """Every request so far, by time."""
        found = [row for log in self.logs.values() if log.exists() for row in _rows(log)]
        return sorted(found, key=lambda request: request.at)

    def bad(self) -> list[report.Request]:
        """Requests without an answer, or with a wrong one."""
        return [row for row in self.requests() if row.outcome not in ("ok", "unchecked")]

    def go_on(self, answers: int = 20) -> None:
        """Until every device has answered so many times more."""
        for name, enough in {name: self._answers(name) + answers for name in self.logs}.items():
            _wait(f"answers of {name}", lambda: self._answers(name) >= enough)  # noqa: B023 - looked at within this turn

    def _answers(self, device: str) -> int:
        return sum(row.version != "-" for row in _rows(self.logs[device]))

    def longest_gap_ms(self, device: str) -> float:
        """The longest time without an answer on one device."""
        times = [row.at for row in _rows(self.logs[device]) if row.version != "-"]
        return max((b - a) * 1000 for a, b in pairwise(times))


def _wait(what: str, look: Callable[[], bool]) -> None:
    eventually(what, lambda: look() or None)


def _rows(log: Path) -> list[report.Request]:
    return report.read_requests(log) if log.exists() else []


@contextmanager
def traffic(boxes: Mapping[str, Box], data: Path, folder: Path) -> Iterator[Traffic]:
    """The first device is asked through gRPC, the others through REST."""
    run = folder / f"traffic-{time.monotonic_ns()}"
    run.mkdir()
    logs = {name: run / f"{name}.csv" for name in boxes}
    clients = []
    try:
        for number, (name, box) in enumerate(boxes.items()):
            protocol, address = GRPC if number == 0 else REST
            targets = run / f"{name}.json"
            targets.write_text(
                json.dumps([{"device": name, "protocol": protocol, "address": address}])
            )
            clients.append(_client(box, targets, data, logs[name]))
        made = Traffic(logs)
        made.go_on()
        yield made
    finally:
        for client in clients:
            client.terminate()
        for client in clients:
            client.wait(timeout=30)


def _client(box: Box, targets: Path, data: Path, log: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *("ip", "netns", "exec", box.name, sys.executable, "-m", "demo_story.traffic"),
            *("--targets", str(targets), "--data", str(data), "--log", str(log)),
        ],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        stdin=subprocess.DEVNULL,
    )
