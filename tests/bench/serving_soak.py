"""Prints the endpoint's memory over many load and unload cycles.

    PYTHONPATH=tests python tests/bench/serving_soak.py [CYCLES]

Each cycle loads a version, sends the requests to it, asks it once, and ends the one before. Rings
are the workers' shared memory, mapped by the endpoint. Of its memory (PSS) a part is its own
(anonymous): the rest are files' pages, which count less while other processes map them too. At the
end no process and no segment of shared memory may be left of all those that came and went; for that
the script has a `/dev/shm` of its own, in which nobody else's segments can be.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import psutil
from sealane.client import Client
from support.bundles import ROWS
from support.endpoints import endpoint, lay_out
from support.process_memory import counted_bytes
from support.under_load import linked, swap

if TYPE_CHECKING:
    from sealane_agent.endpoint.link import EndpointLink

CYCLES: Final = 200
SHOWN: Final = 20
SEGMENTS: Final = Path("/dev/shm")
KEPT: Final = 2
"""Workers that stay: the active one and the previous one."""

_ALONE: Final = "SEALANE_SOAK_ALONE"
_MOUNT: Final = 'mount -t tmpfs -o mode=1777 none /dev/shm && exec "$@"'


def main() -> None:
    """Cycle and print."""
    if _ALONE not in os.environ:
        _begin_again_alone()
    cycles = int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES
    begun, load = time.monotonic(), os.getloadavg()[0]
    seen: set[psutil.Process] = set()
    with TemporaryDirectory() as folder, endpoint(lay_out(Path(folder), 1, 2)) as running:
        process = psutil.Process(running.process.pid)
        seen.add(process)
        sys.stdout.write("| cycle | endpoint MiB | its own | descriptors | rings | processes |\n")
        sys.stdout.write("|---|---|---|---|---|---|\n")

        async def cycle(link: EndpointLink) -> None:
            with Client(running.rest) as client:
                for number in range(cycles + 1):
                    await swap(link, 1 + number % 2)
                    client.infer("cam", {"x": ROWS})
                    seen.update(process.children(recursive=True))
                    if number % (cycles // SHOWN or 1) == 0:
                        await _settle(process)
                        _show(process, number)

        linked(running, cycle)
    alive = [each.pid for each in seen if each.is_running()]
    segments = sorted(each.name for each in SEGMENTS.iterdir())
    sys.stdout.write(
        f"\n{cycles} cycles in {time.monotonic() - begun:.0f} s, load average {load:.1f} at the "
        f"start; {len(seen)} processes came, left behind: processes {alive}, segments {segments}\n"
    )


def _begin_again_alone() -> None:
    """Run this script anew where nobody else's shared memory is seen."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh"]
    os.environ[_ALONE] = "1"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])  # noqa: S606 - the system's own tool


async def _settle(process: psutil.Process) -> None:
    """Until only the active and the previous worker are left."""
    deadline = time.monotonic() + 30
    while len(process.children()) > KEPT and time.monotonic() < deadline:  # noqa: ASYNC110 - the two ends are other processes
        await asyncio.sleep(0.05)


def _show(process: psutil.Process, number: int) -> None:
    memory, own = (counted_bytes(process.pid, what) / 2**20 for what in ("Pss", "Anonymous"))
    maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
    sys.stdout.write(
        f"| {number} | {memory:.1f} | {own:.1f} | {process.num_fds()} | "
        f"{maps.count('memfd:sealane-ring')} | {len(process.children())} |\n"
    )
    sys.stdout.flush()


if __name__ == "__main__":
    main()
