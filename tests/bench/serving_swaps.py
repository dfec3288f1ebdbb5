"""Prints what clients see of many swaps, of crashes and of a hang.

    PYTHONPATH=tests python tests/bench/serving_swaps.py [SWAPS]

Eight clients ask over REST and gRPC all the time (`support/asking.py`) and check each answer. The
figures to compare are those of one run: p99 while nothing happens and p99 during the swaps.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from support.endpoints import endpoint, lay_out
from support.under_load import active_worker, asking, linked, swap

if TYPE_CHECKING:
    from sealane_agent.endpoint.link import EndpointLink

SWAPS = 50
ANSWERS = 500
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)


def main() -> None:
    """Swap, kill, and print."""
    swaps = int(sys.argv[1]) if len(sys.argv) > 1 else SWAPS
    with (
        TemporaryDirectory() as folder,
        endpoint(lay_out(Path(folder), *range(1, swaps + 2))) as running,
        asking(running) as asked,
    ):

        async def all_swaps(link: EndpointLink) -> None:
            for version in range(2, swaps + 2):
                await swap(link, version)
                await asyncio.to_thread(asked.go_on, "swaps", ANSWERS // 5)

        asked.go_on("before", 4 * ANSWERS)
        linked(running, all_swaps)
        asked.go_on("after", ANSWERS)
        for sign in SIGNALS:
            asked.go_on("settling", 6 * ANSWERS)
            active_worker(running).send_signal(sign)
            asked.go_on(sign.name, ANSWERS)
    sys.stdout.write(f"{swaps} swaps, load average {os.getloadavg()[0]:.1f}\n\n")
    sys.stdout.write("| phase | requests | failed | wrong version | backwards | p50 ms | p99 ms |"
                     " longest ms |\n|---|---|---|---|---|---|---|---|\n")  # fmt: skip
    for name, seen in asked.phases.items():
        times = " | ".join(f"{seen[key]:.1f}" for key in ("p50_ms", "p99_ms", "longest_ms"))
        sys.stdout.write(
            f"| {name} | {seen['requests']} | {seen['failures']} | {seen['wrong']} | "
            f"{seen['backwards']} | {times} |\n"
        )


if __name__ == "__main__":
    main()
