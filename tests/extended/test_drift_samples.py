"""Samples while inputs drift, from end to end: a camera goes dark, and its manager asks to see why.

The real programs on real digits, at their own pace: windows of a minute, looked at every minute.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from demo_story.models import make_models
from demo_story.plant import SLOT
from demo_story.processes import wait_for
from support.stories import samples
from support.story_plant import StoryPlant, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow

PATIENCE_S: Final = 1800.0
DARKER: Final = 4.0
TERMS: Final = {
    "every": 0,
    "confidence_below": 0.0,
    "errors": False,
    "drift": True,
    "bytes_per_day": 1_000_000,
    "seconds_kept": 86_400,
    "inputs": {"pixels": {"columns": [], "shrink": 1}},
}


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with running(StoryPlant(tmp_path)) as built:
        yield built


def darkened(models: Models, folder: Path) -> Path:
    """The same requests as a camera sees them that lets a quarter of the light through."""
    with np.load(models.traffic) as seen:
        found: dict[str, Any] = dict(seen)
    found["rows"] = (found["rows"] / DARKER).astype(np.float32)
    path = folder / "dark.npz"
    np.savez(path, **found)
    return path


def test_a_camera_that_goes_dark_has_its_requests_kept(plant: Plant, tmp_path: Path) -> None:
    models, terms = make_models(tmp_path / "models"), tmp_path / "terms.json"
    terms.write_text(json.dumps(TERMS))
    first = models.releases[1]
    options = ("--probation-seconds", "1", "--sampling", str(terms))
    plant.publish(plant.pack(first.onnx, first.data, *options), 1)
    plant.enrol("box-1")
    plant.start_agent("box-1")
    plant.wait_connected(1)
    assert plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))["state"] == "succeeded"
    plant.processes.sealane("sample", "on", "--slot", SLOT, "--for", "4h", "--reason", "night")

    plant.start_traffic(darkened(models, tmp_path), ["box-1"])

    sealed = plant.state / "samples"
    wait_for("a sample", lambda: list(sealed.glob("*")) or None, PATIENCE_S)
    (found, *_) = wait_for("its place in the list", lambda: samples(plant) or None)
    assert (found["device"], found["trigger"]) == ("box-1", "drift")
    kept = tmp_path / "kept"
    plant.processes.sealane("sample", "view", found["id"], str(kept), "--reason", "is it dark?")
    assert np.load(kept / "input-0.npy").max() <= 16 / DARKER
