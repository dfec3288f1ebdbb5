"""Prints what a month of one device costs to read from the disk: rows apart, and lying together.

    PYTHONPATH=tests:scripts python tests/bench/cold_reads.py [--devices 3000] [--reads 12]

Two files hold the same month of the same fleet: in one nothing was ever packed, in the other
housekeeping has made blocks of what has ended. The same device is read from one and from the other
in turn, each time after what the system holds of the disk was dropped (root). Then housekeeping
packs one hour of the first file's minutes: what that costs for each window.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sealane.names import DeviceId
from sealane_manager.store.telemetry import packing, retention
from sealane_manager.store.telemetry.queries import Readings
from sealane_manager.store.telemetry.records import Span
from sealane_manager.store.telemetry.schema import DAY, HOUR, MINUTE, connect, migrate
from support.month import Month, fill_month
from support.rollouts import NEW, START

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = int(START.timestamp())
MONTH = Span(NOW - 30 * DAY, NOW + 1, HOUR)


@dataclass(frozen=True)
class Read:
    """One reading of a month."""

    ms: float
    cpu_ms: float
    bytes: int


def device(number: int) -> DeviceId:
    return DeviceId(f"edge-{number:05}")


def fill(path: Path, month: Month) -> None:
    """Write a file, and say what it takes."""
    migrate(path)
    windows = fill_month(path, month)
    say(f"{path.stem}: {windows:,} windows, {path.stat().st_size / 2**20:,.0f} MiB")


def read(path: Path, name: DeviceId) -> Read:
    """The month of a device as its page asks for it, with nothing held of the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    before, began, worked = bytes_read(), time.perf_counter(), time.process_time()
    readings = Readings(path)
    assert readings.device_by_arm(name, MONTH)
    took, spent = time.perf_counter() - began, time.process_time() - worked
    readings.close()
    return Read(took * 1000, spent * 1000, bytes_read() - before)


def bytes_read() -> int:
    """What this process ever had to read from a disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def compare(files: Sequence[Path], devices: int, reads: int) -> None:
    """Read the same devices from each file in turn; print the middle of each, and the ratio."""
    found: dict[Path, list[Read]] = {path: [] for path in files}
    for number in range(reads):
        for path in files:
            found[path].append(read(path, device(number * devices // reads)))
    say(f"{'':10}{'cold ms':>9}{'slowest':>9}{'CPU ms':>8}{'read MiB':>10}   ({reads} devices)")
    for path, all_of in found.items():
        times = [each.ms for each in all_of]
        cpu = statistics.median(each.cpu_ms for each in all_of)
        size = statistics.median(each.bytes for each in all_of) / 2**20
        middle = f"{statistics.median(times):9.0f}{max(times):9.0f}"
        say(f"{path.stem:10}{middle}{cpu:8.0f}{size:10.2f}")
    apart, together = (statistics.median(each.ms for each in found[path]) for path in files)
    say(f"together takes {together / apart:.2f} of the time of apart")


def pack_an_hour(path: Path) -> None:
    """Processor time of packing one hour of every device, for each window."""
    connection = connect(path)
    hour = packing.Ended(MINUTE, NOW // HOUR * HOUR - 2 * HOUR)
    slices = retention.slices_at(connection, MINUTE, hour.start, HOUR)
    worked, longest = time.process_time(), 0.0
    for names in slices:
        began = time.perf_counter()
        packing.pack(connection, hour, names)
        longest = max(longest, time.perf_counter() - began)
    windows = 60 * sum(map(len, slices))
    spent = (time.process_time() - worked) / windows * 1e6
    say(f"packing an hour: {spent:.1f} µs a window; the longest wait of a batch {longest:.3f} s")
    connection.close()


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=3000)
    parser.add_argument("--reads", type=int, default=12)
    arguments = parser.parse_args()
    names = [device(number) for number in range(arguments.devices)]
    month = Month(NOW, dict.fromkeys(names, str(NEW)), dict.fromkeys(names, "berlin"), names)
    with TemporaryDirectory() as folder:
        files = (Path(folder) / "apart.db", Path(folder) / "together.db")
        fill(files[0], replace(month, in_blocks=False))
        fill(files[1], month)
        say(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        compare(files, arguments.devices, arguments.reads)
        pack_an_hour(files[0])


if __name__ == "__main__":
    main()
