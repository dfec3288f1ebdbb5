"""What becomes of a slot that was interrupted in vain, and of what was measured, by processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sealane.limits import MIB
from sealane_agent.serving.messages import GivesWay
from sealane_agent.serving.types import LoadFailed
from support.endpoints import SLOT, lay_out, tiny_pointer
from support.small_devices import GATE, asked, on_a_small_device

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.layout import StateFolder
    from support.small_devices import Bench


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return lay_out(tmp_path, 1, 2, 3, 4, 5)


async def fill(bench: Bench) -> None:
    """Nothing is idle, and no model whose size is guessed fits any more."""
    await bench.serve(GATE, 2)
    await bench.serve(GATE, 3, probation=True)


def test_a_slot_that_was_interrupted_in_vain_serves_again_what_it_had(state: StateFolder) -> None:
    model = state.view(tiny_pointer(5).manifest) / "onnx-fp32" / "model.onnx"
    model.write_bytes(b"no model")

    async def work(bench: Bench) -> None:
        await fill(bench)
        with asked(bench.rest, SLOT) as cam:
            with pytest.raises(LoadFailed) as caught:
                await bench.load(SLOT, 5, GivesWay.SERVING)
            assert caught.value.failure.component == "runtime"
        assert set(cam.versions) == {1}
        assert (await bench.status(SLOT)).active == tiny_pointer(1)

    on_a_small_device(state, work)


def test_what_a_model_took_is_remembered_over_a_restart(state: StateFolder) -> None:
    async def first(bench: Bench) -> None:
        await bench.load(SLOT, 4)

    async def second(bench: Bench) -> None:
        await fill(bench)
        assert "guessed" in await bench.refused(SLOT, 5)
        # Measured, it fits where a guess was too much.
        await bench.load(SLOT, 4)

    on_a_small_device(state, first)
    # Room for three and a load of what was measured, which is far from a load of what is guessed.
    kept = json.loads(state.footprints.read_bytes())
    taken_mib = max(each["peak"] for each in kept.values()) // MIB
    on_a_small_device(state, second, 4 * taken_mib + 8)
