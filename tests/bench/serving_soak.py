"""Prints the endpoint's memory over many load and unload cycles.

    PYTHONPATH=tests python tests/bench/serving_soak.py [CYCLES]

Each cycle loads a version, sends the requests to it, asks it once, and ends the one before. At the
end no worker, no descriptor and no shared memory may be left of all those that came and went.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import psutil
from sealane.client import Client
from support.bundles import ROWS
from support.endpoints import endpoint, lay_out
from support.under_load import linked, swap

if TYPE_CHECKING:
    from sealane_agent.endpoint.link import EndpointLink

CYCLES = 200
SHOWN = 20


def main() -> None:
    """Cycle and print."""
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES
    shared = set(os.listdir("/dev/shm"))  # noqa: PTH208 - where segments would be left
    with TemporaryDirectory() as folder, endpoint(lay_out(Path(folder), 1, 2)) as running:
        process = psutil.Process(running.process.pid)
        sys.stdout.write("| cycle | memory MiB | descriptors | processes |\n|---|---|---|---|\n")

        async def cycle(link: EndpointLink) -> None:
            with Client(running.rest) as client:
                for number in range(cycles + 1):
                    await swap(link, 1 + number % 2)
                    client.infer("cam", {"x": ROWS})
                    if number % (cycles // SHOWN or 1) == 0:
                        await _settle(process)
                        _show(process, number)

        linked(running, cycle)
    left = set(os.listdir("/dev/shm")) - shared  # noqa: PTH208 - the same
    alive = psutil.pid_exists(process.pid)
    sys.stdout.write(f"\nleft behind: segments {sorted(left)}, endpoint alive {alive}\n")


async def _settle(process: psutil.Process) -> None:
    """Until only the active and the previous worker are left."""
    deadline = time.monotonic() + 30
    while len(process.children()) > 2 and time.monotonic() < deadline:  # noqa: ASYNC110 - the two ends are other processes
        await asyncio.sleep(0.05)


def _show(process: psutil.Process, number: int) -> None:
    memory = process.memory_full_info().pss / 2**20
    sys.stdout.write(
        f"| {number} | {memory:.1f} | {process.num_fds()} | {len(process.children())} |\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
