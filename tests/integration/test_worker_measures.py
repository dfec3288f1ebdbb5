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

    from sealane_agent.serving.messages import Proved

pytestmark = pytest.mark.slow

PATIENT_S = 60.0
LONG = Recipe(long_model())
HARD = Bar(latency_us=1)


def started(root: Path, recipe: Recipe, bar: Bar, by: Measure = Measure.LATENCY) -> Proved:
    """What the proof measured; the worker answers as it should, whatever that was."""
    state = lay_out(root, recipe)
    contract = replace(deployment_of(recipe), objective=Objective(by))
    (state.view(MANIFEST) / "deployment.json").write_bytes(encode_deployment(contract))

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


def test_where_variants_are_ranked_by_their_throughput_it_is_measured(tmp_path: Path) -> None:
    proved = started(tmp_path, LONG, Bar(), Measure.THROUGHPUT)
    assert proved.rows_per_s > 0
    assert proved.p95_us >= proved.latency_us > 1
    assert not proved.given_up
    assert (tmp_path / "footprints.json").is_file()


def test_what_has_clearly_lost_is_given_up_and_its_memory_is_not_remembered(
    tmp_path: Path,
) -> None:
    proved = started(tmp_path, LONG, HARD, Measure.THROUGHPUT)
    assert proved.given_up
    assert not proved.rows_per_s
    assert 0 <= proved.golden_max_error < 1e-3
    assert not (tmp_path / "footprints.json").exists()


def test_what_has_lost_must_meet_its_golden_outputs_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="deviates") as refused:
        started(tmp_path, replace(LONG, golden_offset=1.0), HARD)
    assert refused.value.failure.component == "golden"
