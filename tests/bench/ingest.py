"""Prints how many windows a second the manager stores, in groups and one by one, and their bytes.

Real windows of eight inputs (`telemetry_size`), encoded as devices send them, from many devices on
twenty sites, through the writer and its commits to a file on this machine's disk.
`python tests/bench/ingest.py [batches]`: rates are this machine's, to be compared with each other.
The last rows are a thousand devices that come back after an outage of an hour.
"""

from __future__ import annotations

import os
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane.names import DeviceId
from sealane.telemetry.codec import encode_windows
from sealane_manager.app import spare_the_collector
from sealane_manager.store.telemetry import open_telemetry
from sealane_manager.store.telemetry.records import Arrived
from telemetry_size import window

if TYPE_CHECKING:
    from sealane_manager.store.telemetry import Telemetry

DEVICES = 1000
START = 1_760_000_000


class Sites:
    """Every device stands on one of twenty sites, and every release is known."""

    def site(self, device: str) -> str:
        """Its site."""
        return f"site-{int(device[3:]) % 20}"

    def is_ours(self, release: str, slot: str) -> bool:
        """Yes."""
        return bool(release and slot)


@dataclass(frozen=True)
class Load:
    """Batches that are alike."""

    name: str
    batches: tuple[Arrived, ...]
    windows: int


def load(name: str, batches: int, minutes: int) -> Load:
    """Batches of so many minutes each, from one device after the other."""
    dice = random.Random(7)  # noqa: S311 - made-up traffic
    bodies = [
        encode_windows([window(600, turn * minutes + minute, dice) for minute in range(minutes)])
        for turn in range(batches // DEVICES + 1)
    ]
    found = (
        Arrived(
            device=DeviceId(f"box{number % DEVICES}"),
            boot=f"boot-{number}",
            sequence=1,
            body=bodies[number // DEVICES],
            first=True,
            received=START + 3600,
        )
        for number in range(batches)
    )
    return Load(name, tuple(found), batches * minutes)


def run(telemetry: Telemetry, what: Load, at_once: int) -> tuple[float, float]:
    """Store the batches, so many under way at once; windows a second, and CPU µs for each."""
    began, worked = time.perf_counter(), time.process_time()
    for start in range(0, len(what.batches), at_once):
        group = what.batches[start : start + at_once]
        for answer in [telemetry.put(batch) for batch in group]:
            answer.result()
    spent = (time.process_time() - worked) / what.windows
    return what.windows / (time.perf_counter() - began), spent * 1e6


def measure(what: Load, at_once: int, linger_s: float) -> str:
    """One row of the table, on a new file."""
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "telemetry.db"
        telemetry = open_telemetry(path, Sites(), linger_s)
        rate, spent = run(telemetry, what, at_once)
        telemetry.close()
        stored = path.stat().st_size / what.windows
    sent = sum(len(batch.body) for batch in what.batches) / what.windows
    return (
        f"{what.name:28} {at_once:7}  {rate:9.0f}  {spent:7.0f} µs  {sent:6.0f} B  {stored:6.0f} B"
    )


def main() -> None:
    """Print the table."""
    spare_the_collector()  # as `sealane serve` does
    batches = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sys.stdout.write(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    sys.stdout.write(f"{'batches':28} at once  windows/s    CPU each  sent each  in file each\n")
    live, backlog = load("one window each", batches, 1), load("an hour each", batches // 20, 60)
    for what, at_once, linger_s in (
        (Load(live.name, live.batches[: batches // 20], batches // 20), 1, 0.0),
        (live, 1000, 0.03),
        (live, 4000, 0.03),
        (backlog, 100, 0.03),
        (backlog, 1000, 0.03),
    ):
        sys.stdout.write(measure(what, at_once, linger_s) + "\n")


if __name__ == "__main__":
    main()
