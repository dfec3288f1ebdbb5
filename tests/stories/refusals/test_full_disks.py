"""Disks that are full: a device's while it downloads, the manager's while a bundle is uploaded."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from demo_story.plant import MODEL, SLOT, Plant, let_answer
from demo_story.processes import BIN, wait_for
from support.small_disks import Disk, mounted
from support.stories import (
    SLOW_KB,
    contents,
    large_model,
    largest,
    refusal,
    serve_release_1,
    still_answered,
)
from support.story_plant import StoryPlant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from demo_story.models import Models

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system"),
]

ROOM = 400
WATCHED = ("--probation-seconds", "1")


@dataclass(frozen=True, slots=True)
class Tight:
    """A plant whose manager and whose box-1 have small disks; box-1 serves release 1."""

    plant: Plant
    manager: Disk
    box: Disk
    log: Path


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Tight]:
    plant = StoryPlant(tmp_path_factory.mktemp("tight"))
    with mounted(plant.state, ROOM) as manager, mounted(plant.folder / "box-1", ROOM) as box:
        try:
            plant.init()
            plant.start_manager()
            plant.link_rate_kb = SLOW_KB
            serve_release_1(plant, models, "box-1")
            yield Tight(plant, manager, box, plant.start_traffic(models.traffic, ["box-1"]))
        finally:
            plant.stop()


def _pack_large(plant: Plant, models: Models, version: int) -> Path:
    return plant.pack(large_model(plant.folder, version), models.releases[1].data, *WATCHED)


def _catch(arrived: Callable[[], int]) -> None:
    """Until more than a mebibyte has arrived; without a pause, since it is soon over."""
    deadline = time.monotonic() + 60
    while arrived() < 1_000_000:
        assert time.monotonic() < deadline, "nothing arrives"
        os.sched_yield()


def test_a_manager_whose_disk_fills_up_refuses_the_upload_and_takes_it_when_there_is_room(
    tight: Tight, models: Models
) -> None:
    plant, tuf = tight.plant, tight.plant.state / "tuf"
    layout = _pack_large(plant, models, 6)
    environment = plant.processes.environment
    command = ("bundle", "publish", str(layout), "--release", f"{MODEL}@6", "--slot", SLOT)
    before = contents(tuf)

    tight.manager.resize(90)
    found = refusal("sealane", *command, environment=environment)
    assert found.code == 1
    assert found.error.startswith("the manager's disk has ")
    assert "too little for 39 MiB more" in found.error
    assert found.hint == "free some space, then send it again"

    tight.manager.resize(ROOM)
    partial = plant.state / "blobs" / "partial"
    with subprocess.Popen(
        [BIN / "sealane", *command], env=environment, stderr=subprocess.PIPE, text=True
    ) as publishing:
        _catch(lambda: largest(partial))
        tight.manager.shrink_around()
        _, said = publishing.communicate(timeout=60)
    assert publishing.returncode == 1, said
    assert said.splitlines() == [
        "error: the manager's disk is full",
        "hint: free some space, then send it again",
    ]
    wait_for("no half of a blob", lambda: not list(partial.iterdir()) or None)
    assert contents(tuf) == before

    tight.manager.resize(ROOM)
    plant.publish(layout, 6)
    assert f"{MODEL}@6" in plant.processes.sealane("release", "list")
    still_answered(tight.log)


def test_a_manager_without_a_byte_of_room_says_so_and_goes_on_when_there_is_some(
    tight: Tight,
) -> None:
    processes = tight.plant.processes
    tight.manager.fill()
    found = refusal("sealane", "device", "token", environment=processes.environment)
    assert found.code == 1
    assert found.error == "the manager's disk is full"
    assert found.hint == "free some space on the disk of its state folder"
    tight.manager.empty()
    assert processes.sealane("device", "token").startswith("slj1_")
    still_answered(tight.log)


def test_a_device_whose_disk_fills_up_in_a_download_keeps_serving_and_keeps_no_half(
    tight: Tight, models: Models
) -> None:
    plant, box = tight.plant, tight.box
    plant.publish(_pack_large(plant, models, 7), 7)
    partial = box.folder / "store" / "partial"
    before = contents(box.folder / "slots")

    rollout = plant.start_rollout(7, "100%", "--soak", "0s")
    _catch(lambda: largest(partial))
    box.shrink_around()
    ended = plant.wait_ended(rollout)
    box.resize(ROOM)
    assert ended["state"] == "reverted"
    assert "the disk is full" in ended["reason"]
    assert list(partial.iterdir()) == []
    assert contents(box.folder / "slots") == before
    still_answered(tight.log)


def test_a_device_without_a_byte_of_room_keeps_serving_and_goes_on_when_there_is_some(
    tight: Tight, models: Models
) -> None:
    plant, second = tight.plant, models.releases[2]
    plant.publish(plant.pack(second.onnx, second.data, *WATCHED), 2)

    tight.box.fill()
    rollout = plant.start_rollout(2, "100%", "--soak", "0s")
    let_answer(3.0)
    assert plant.agents["box-1"].poll() is None
    still_answered(tight.log)
    said = (plant.folder / "logs" / "box-1.log").read_text()
    assert "Traceback" not in said
    assert "No space left on device" in said

    tight.box.empty()
    assert plant.wait_ended(rollout)["state"] == "succeeded"
    still_answered(tight.log, "2")
