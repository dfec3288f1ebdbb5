"""Prints what copies for a second release cost those who ask: `serving_shadow.py [ROUNDS]`.

One client that waits for each answer, in turns without and with a standby that gets copies, in one
run: only the ratio counts. The standby is the same model, so that it has as much to do.
    PYTHONPATH=tests python tests/bench/serving_shadow.py
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import serving_models
from sealane_agent.layout import StateFolder
from sealane_agent.serving.messages import Load
from serving_overload import closed_loop, dense, quantiles, request_for
from support.endpoints import SLOT, endpoint
from support.under_load import linked

if TYPE_CHECKING:
    from sealane_agent.endpoint.link import EndpointLink
    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Shadowed
    from support.endpoints import EndpointProcess

ROUNDS: Final = 6
SECONDS: Final = 2.0
LOAD_S: Final = 60.0


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for name, model in (("tiny", serving_models.tiny()), ("some ms", dense())):
        with TemporaryDirectory() as folder:
            state = StateFolder(Path(folder))
            second = serving_models.place(state, model, SLOT, 2)
            serving_models.place(state, model, SLOT, 1)
            with endpoint(state) as running:
                measured(name, running, second, rounds)


def measured(name: str, running: EndpointProcess, second: Pointer, rounds: int) -> None:
    """Both in turns, and a line of the table."""
    alone: list[float] = []
    copied: list[float] = []
    seen = None
    for _ in range(rounds):
        alone += asked(running)
        worker = linked(running, partial(mirrored, pointer=second))
        copied += asked(running)
        seen = linked(running, partial(ended, worker=worker))
    assert seen
    before, with_copies = quantiles(alone), quantiles(copied)
    ratios = [b / a for a, b in zip(before, with_copies, strict=True)]
    sys.stdout.write(
        f"{name}: alone p50 {before[0]:.2f} ms, p99 {before[1]:.2f} ms; with copies"
        f" {ratios[0]:.2f} and {ratios[1]:.2f} times; in the last round {seen.compared} of"
        f" {len(copied) // rounds} requests were compared; load {os.getloadavg()[0]:.1f}\n"
    )


def asked(running: EndpointProcess) -> list[float]:
    """How long each answer took, in seconds."""
    seen = asyncio.run(closed_loop(running.rest, request_for(64), 1, SECONDS))
    took = [each for _, each in seen.answered]
    assert statistics.median(took) > 0
    return took


async def mirrored(link: EndpointLink, pointer: Pointer) -> str:
    """Load the second release and give it copies; its worker."""
    proved = await link.load(Load(SLOT, pointer, LOAD_S))
    await link.mirror(SLOT, proved.worker)
    return proved.worker


async def ended(link: EndpointLink, worker: str) -> Shadowed | None:
    """What the standby came to; it is dropped."""
    (status,) = await link.status()
    await link.drop(SLOT, worker)
    return status.shadow


if __name__ == "__main__":
    main()
