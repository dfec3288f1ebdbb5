"""What a real worker measures of a variant by its bundle's objective, and when it stops."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sealane.bundle.deployment import encode_deployment
from sealane.bundle.types import Measure, Objective
from sealane_agent.serving.messages import Bar
from sealane_agent.serving.types import LoadFailed
from sealane_agent.serving.worker_process import WorkerProcess
from support.workers import (
    MANIFEST,
    PRODUCTS,
    Recipe,
    answer_of,
    array_of,
    deployment_of,
    expected,
    lay_out,
    load_order,
    long_model,
    request,
    rows,
    workplace,
)

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.layout import StateFolder
    from sealane_agent.serving.messages import Proved

pytestmark = pytest.mark.slow

PATIENT_S = 60.0
LONG = Recipe(long_model(4 * PRODUCTS))
"""Takes so long on any processor that its timing is cut short where it has lost."""
HARD = Bar(latency_us=1)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """With a bundle of a long model that ranks by throughput."""
    state = lay_out(tmp_path, LONG)
    contract = replace(deployment_of(LONG), objective=Objective(Measure.THROUGHPUT))
    (state.view(MANIFEST) / "deployment.json").write_bytes(encode_deployment(contract))
    return state


def started(state: StateFolder, bar: Bar) -> Proved:
    """What the proof measured; the worker answers as it should, whatever that was."""

    async def whole() -> Proved:
        async with asyncio.timeout(PATIENT_S):
            order = replace(load_order(), bar=bar)
            worker = await WorkerProcess.start("cam-1", order, workplace(state))
            try:
                answer = await answer_of(worker, request(rows(3)), PATIENT_S)
                np.testing.assert_allclose(array_of(answer), expected(rows(3)), 1e-4, 1e-4)
                return worker.proved
            finally:
                await worker.close(0)

    return asyncio.run(whole())


def test_where_variants_are_ranked_by_their_throughput_it_is_measured(state: StateFolder) -> None:
    proved = started(state, Bar())
    assert proved.rows_per_s > 0
    assert proved.p95_us >= proved.latency_us > 1
    assert not proved.given_up
    assert state.footprints.is_file()


def test_what_has_clearly_lost_is_given_up_and_its_memory_is_not_remembered(
    state: StateFolder,
) -> None:
    proved = started(state, HARD)
    assert proved.given_up
    assert not proved.rows_per_s
    assert 0 <= proved.golden_max_error < 1e-3
    assert not state.footprints.exists()


def test_what_has_lost_must_meet_every_golden_row_all_the_same(state: StateFolder) -> None:
    golden = state.view(MANIFEST) / "golden" / "y"
    golden.write_bytes(golden.read_bytes()[:-4] + np.float32(1e3).tobytes())
    with pytest.raises(LoadFailed, match="deviates") as refused:
        started(state, HARD)
    assert refused.value.failure.component == "golden"
