"""Samples of inputs with the real programs: ordered, sealed, listed, opened, and never again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from demo_story.plant import MODEL, SLOT
from demo_story.processes import wait_for
from support.stories import refusal, samples, still_answered

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow
TERMS = {
    "every": 5,
    "confidence_below": 0.0,
    "errors": False,
    "bytes_per_day": 1_000_000,
    "seconds_kept": 86_400,
    "inputs": {"pixels": {"columns": [0, 9], "shrink": 1}},
}


def test_samples_are_kept_sealed_and_shown_until_the_device_says_never(
    plant: Plant, models: Models, tmp_path: Path
) -> None:
    terms = tmp_path / "terms.json"
    terms.write_text(json.dumps(TERMS))
    first = models.releases[1]
    layout = plant.pack(
        first.onnx, first.data, "--probation-seconds", "1", "--sampling", str(terms)
    )
    plant.publish(layout, 1)
    plant.enrol("box-1")
    plant.start_agent("box-1")
    plant.wait_connected(1)
    assert plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))["state"] == "succeeded"
    log = plant.start_traffic(models.traffic, ["box-1"])
    assert samples(plant) == []

    said = plant.processes.sealane(
        *("sample", "on", "--slot", SLOT, "--for", "1h", "--reason", "what does it see"),
    )
    assert said == "1 device\n"
    found = wait_for("a sample", lambda: samples(plant) or None)

    assert (found[0]["device"], found[0]["release"]) == ("box-1", f"{MODEL}@1")
    assert found[0]["trigger"] == "every"
    opened = tmp_path / "opened"
    plant.processes.sealane(
        *("sample", "view", found[0]["id"], str(opened), "--reason", "it looks odd"),
    )
    assert np.load(opened / "input-0.npy").shape == (1, 2)
    assert json.loads((opened / "sample.json").read_bytes())["id"] == found[0]["id"]
    refused = refusal(
        *("sealane", "sample", "view", "nothing", str(opened), "--reason", "x"),
        environment=plant.processes.environment,
    )
    assert "there is no sample" in refused.error

    device = plant.folder / "box-1"
    (device / "sampling.never").touch()
    wait_for("an empty folder", lambda: not list((device / "samples").glob("*.sample")) or None)
    before = len(samples(plant))
    still_answered(log)
    still_answered(log)
    assert not list((device / "samples").glob("*.sample"))
    assert len(samples(plant)) <= before + 1  # one may have been on its way
