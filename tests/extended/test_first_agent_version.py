"""The first version of the agent ever fails on one of two devices: both run the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo_story.models import make_models
from demo_story.plant import Plant
from demo_story.processes import wait_for
from support.stories import still_answered
from support.story_plant import running
from support.upgrades import (
    KEPT_PACKAGE,
    PACKAGE,
    following,
    publish,
    roll_out,
    runs,
    start_kept,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANGS_ON_BOX_2 = """
_runs = run
def run(settings):
    import time
    if settings.folder.root.name == "box-2":
        time.sleep(3600)
    _runs(settings)
"""


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with running(Plant(tmp_path)) as built:
        yield built


def add_device(plant: Plant, device: str) -> None:
    """One more that follows rollouts of the agent."""
    plant.enrol(device)
    start_kept(plant, device)
    plant.wait_connected(2)


def test_the_first_version_ever_fails_and_all_devices_are_back_at_what_they_ran_before(
    plant: Plant, tmp_path: Path
) -> None:
    models = make_models(tmp_path)
    device = following(plant, models)
    add_device(plant, "box-2")
    traffic = plant.start_traffic(models.traffic, [device])
    still_answered(traffic)
    ended = roll_out(plant, publish(plant, 1, "77.1", HANGS_ON_BOX_2))
    assert ended["state"] == "reverted", ended
    said = {each["device"]: (each["state"], each["detail"]) for each in ended["devices"]}
    assert said["box-1"] == ("rolled_back", f"serves {PACKAGE} again"), said
    assert said["box-2"][0] == "rolled_back", said
    wait_for("the package's version", lambda: state_of(plant, device) == KEPT_PACKAGE or None)
    assert runs(plant, "box-2") == PACKAGE
    still_answered(traffic)

    ended = roll_out(plant, publish(plant, 2, "77.2"))
    assert ended["state"] == "succeeded", ended
    assert runs(plant, device) == runs(plant, "box-2") == "sealane/agent@2"
    still_answered(traffic)
