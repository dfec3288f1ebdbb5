"""A fleet leaves development mode while a device is in it, and the device never notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from demo_story.plant import MODEL, SLOT, Plant
from support.people import FAMILY, People

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models

pytestmark = pytest.mark.slow


def test_a_fleet_is_handed_to_people_and_what_two_of_them_approved_reaches_its_device(
    plant: Plant, models: Models, tmp_path: Path
) -> None:
    people = People(plant, tmp_path / "homes")
    people.arrive("ana", "ben", "eva", "kim", "lea", "max")
    plant.enrol("box-1")
    plant.start_agent("box-1")
    enrolled = (plant.folder / "box-1" / "trust" / "bootstrap-root.json").read_bytes()
    assert f"{FAMILY} then needs 2 of 2 signatures, before 1 of 1" in people.convert()
    early = people.type("trust", "sign", *people.keys("ana", "lea", "max"), "--yes")
    assert "nothing is published yet" in early
    assert (plant.state / "keys" / "root.pem").exists()
    done = people.type("trust", "sign", *people.keys("kim", "eva"), "--yes")
    assert "published: root, targets, digits" in done
    left = sorted(path.name for path in (plant.state / "keys").iterdir())
    assert left == ["director.pem", "snapshot.pem", "timestamp.pem"]
    first = models.releases[1]
    layout = plant.pack(first.onnx, first.data, "--probation-seconds", "1")
    name = f"{MODEL}@1"
    people.type("bundle", "propose", layout, "--release", name, "--slot", SLOT)
    approved = people.type(
        *("bundle", "approve", name, *people.keys("lea", "max")), "--bundle", layout, "--yes"
    )
    assert f"{name} is published" in approved
    plant.wait_connected(1)
    ended = plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))
    assert ended["state"] == "succeeded"
    people.serves(1)
    assert (plant.folder / "box-1" / "trust" / "bootstrap-root.json").read_bytes() == enrolled
