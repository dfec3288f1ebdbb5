"""Two slots on a device with little memory: make-before-break, idle ones, a refusal, a gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane_agent.serving.messages import GivesWay
from support.endpoints import SLOT, lay_out, tiny_pointer
from support.small_devices import GATE, TOGETHER_MIB, asked, on_a_small_device

if TYPE_CHECKING:
    from pathlib import Path

    from support.small_devices import Bench

pytestmark = pytest.mark.slow


def test_what_there_is_no_memory_for_costs_idle_models_first_and_answers_only_where_allowed(
    tmp_path: Path,
) -> None:
    async def work(bench: Bench) -> None:
        await bench.serve(GATE, 2)
        await bench.serve(GATE, 3)
        with asked(bench.rest, SLOT) as cam, asked(bench.rest, GATE) as gate:
            assert (await bench.status(GATE)).previous == tiny_pointer(2)
            status = await bench.serve(SLOT, 4, probation=True)
            assert (status.active, status.previous) == (tiny_pointer(4), tiny_pointer(1))
            assert (await bench.status(GATE)).previous is None

            message = await bench.refused(GATE, 5)
            assert "it needs 65 MiB of memory to load (guessed by its size)" in message
            assert f"of {TOGETHER_MIB} MiB that models may hold together are free" in message
            assert "gate holds" in message
            assert (await bench.status(GATE)).active == tiny_pointer(3)
            assert set(gate.versions) == {3}

            worker = await bench.load(GATE, 5, GivesWay.SERVING)
            status = await bench.link.activate(GATE, worker, probation=True)
            assert (status.active, status.previous) == (tiny_pointer(5), None)
            assert status.gap_ms > 0
        assert gate.versions == sorted(gate.versions)
        assert cam.versions == sorted(cam.versions)
        assert set(cam.versions) == {1, 4}
        assert set(gate.versions) <= {3, 5}

    on_a_small_device(lay_out(tmp_path, 1, 2, 3, 4, 5), work)
