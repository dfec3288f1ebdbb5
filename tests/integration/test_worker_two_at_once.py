"""A real worker that computes two long requests at once."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest
from sealane_agent.serving.types import WorkerDied
from sealane_agent.serving.worker_process import WorkerProcess
from sealane_agent.worker.hands import WORTH_US
from sealane_agent.worker.host import usable_processors
from support.workers import (
    RUNTIMES,
    Recipe,
    answer_of,
    array_of,
    expected,
    lay_out,
    load_order,
    long_model,
    request,
    rows,
    workplace,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.types import Answer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(usable_processors() < 2, reason="with one processor there is one hand"),
]

PATIENT_S = 60.0
MANY = 64


@pytest.fixture(params=RUNTIMES)
def state(request: pytest.FixtureRequest, tmp_path: Path) -> StateFolder:
    return lay_out(tmp_path, Recipe(long_model(), request.param))


def busy(worker: WorkerProcess) -> int:
    """Hands that compute now."""
    progress = worker._exchange._ring.progress()
    return sum(hand.current is not None for hand in progress)


def play(state: StateFolder, scene: Callable[[WorkerProcess], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(2 * PATIENT_S):
            worker = await WorkerProcess.start("cam-1", load_order(), workplace(state))
            try:
                assert worker.proved.latency_us >= WORTH_US
                await scene(worker)
            finally:
                await worker.close(0)

    asyncio.run(whole())


async def both_busy(worker: WorkerProcess, seeds: range) -> list[asyncio.Task[Answer]]:
    """Ask until two hands compute at once; the requests so far."""
    asked: list[asyncio.Task[Answer]] = []
    while busy(worker) < 2:
        if sum(not task.done() for task in asked) < 2:
            inference = request(rows(MANY, seeds[len(asked) % len(seeds)]))
            asked.append(asyncio.create_task(answer_of(worker, inference, PATIENT_S)))
        await asyncio.sleep(0)
    return asked


def test_two_long_requests_are_computed_at_once_and_each_gets_its_own_answer(
    state: StateFolder,
) -> None:
    async def scene(worker: WorkerProcess) -> None:
        seeds = range(1, 8)
        answers = await asyncio.gather(*await both_busy(worker, seeds))
        assert len(answers) >= 2
        for place, answer in enumerate(answers):
            inputs = rows(MANY, seeds[place % len(seeds)])
            np.testing.assert_allclose(array_of(answer), expected(inputs), rtol=1e-4, atol=1e-4)

    play(state, scene)


def test_a_worker_that_dies_with_two_hands_full_fails_both_at_once(state: StateFolder) -> None:
    async def scene(worker: WorkerProcess) -> None:
        stopped = psutil.Process(worker.pid)
        asked: list[asyncio.Task[Answer]] = []
        full = False
        while not full:
            stopped.resume()
            asked += await both_busy(worker, range(1, 8))
            stopped.suspend()
            while stopped.status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 - as the kernel says
                await asyncio.sleep(0)
            full = busy(worker) == 2
        os.kill(worker.pid, signal.SIGKILL)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(outcome, WorkerDied) for outcome in outcomes) >= 2
        assert all(isinstance(outcome, tuple | WorkerDied) for outcome in outcomes)

    play(state, scene)
