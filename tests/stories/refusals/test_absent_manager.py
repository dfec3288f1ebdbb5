"""A device that starts while its manager is down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo_story.plant import let_answer
from support.stories import serve_release_1, still_answered

if TYPE_CHECKING:
    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow


def test_a_device_serves_what_it_had_while_its_manager_is_down_and_connects_when_it_comes(
    plant: Plant, models: Models
) -> None:
    serve_release_1(plant, models, "box-1")
    assert plant.manager is not None
    for process in (plant.agents["box-1"], plant.manager):
        process.terminate()
        assert process.wait(timeout=60) == 0
    log = plant.folder / "logs" / "box-1.log"
    told = len(log.read_text().splitlines())

    plant.start_agent("box-1")
    traffic = plant.start_traffic(models.traffic, ["box-1"])
    still_answered(traffic)
    let_answer(5.0)
    said = log.read_text().splitlines()[told:]
    (lost,) = [line for line in said if "session lost" in line]
    assert "hint=" in lost
    assert "Traceback" not in log.read_text()

    plant.start_manager()
    plant.wait_connected(1)
    release = models.releases[2]
    plant.publish(plant.pack(release.onnx, release.data, "--probation-seconds", "1"), 2)
    assert plant.wait_ended(plant.start_rollout(2, "100%", "--soak", "0s"))["state"] == "succeeded"
    still_answered(traffic, "2")
