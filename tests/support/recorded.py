"""A telemetry store on a file in memory, batches for it and what it is told of the fleet."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane.names import DeviceId
from sealane.telemetry.codec import encode_windows
from sealane_manager.store.telemetry import open_telemetry
from sealane_manager.store.telemetry.records import Arrived
from support.telemetry import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.telemetry.types import Window
    from sealane_manager.store.telemetry import Telemetry

_MEMORY = Path("/dev/shm")  # a file system without a disk below: nothing waits for fsync
SOON = START + 60
BOX = DeviceId("box-1")


@dataclass
class Known:
    """Sites by device; releases that are not ours."""

    sites: dict[str, str] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    def site(self, device: str) -> str:
        return self.sites.get(device, "")

    def is_ours(self, release: str, slot: str) -> bool:
        return bool(slot) and release not in self.foreign


@contextmanager
def a_telemetry(known: Known | None = None, linger_s: float = 0.0) -> Iterator[Telemetry]:
    """An empty telemetry store on a file in memory."""
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        telemetry = open_telemetry(Path(folder) / "telemetry.db", known or Known(), linger_s)
        try:
            yield telemetry
        finally:
            telemetry.close()


def arrived(
    sequence: int, *windows: Window, device: DeviceId = BOX, first: bool = False
) -> Arrived:
    """A batch of windows, a minute after the first of them began."""
    body = encode_windows(windows)
    received = max((window.end for window in windows), default=SOON)
    return Arrived(device, "boot-1", sequence, body, first, received)


def put(telemetry: Telemetry, *batches: Arrived) -> list[int]:
    """Store batches one after the other; returns the acknowledged sequences."""
    return [telemetry.put(batch).result(10).sequence for batch in batches]
