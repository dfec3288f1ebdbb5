"""A manager that comes back from an old backup, among devices that are newer than it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from demo_story.plant import MODEL, SLOT
from demo_story.processes import wait_for
from support.backups import PASSPHRASE
from support.stories import serve_release_1, still_answered

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow


@pytest.fixture
def passphrase(plant: Plant) -> Path:
    path = plant.folder / "passphrase"
    path.write_text(f"{PASSPHRASE}\n")
    return path


def backed_up(plant: Plant, passphrase: Path) -> Path:
    """`sealane backup` while the manager runs."""
    out = plant.folder / "backup"
    plant.processes.sealane(
        *("backup", str(out), "--state", str(plant.state)),
        *("--passphrase-file", str(passphrase)),
    )
    return out


def lose_the_manager(plant: Plant) -> None:
    """Its process and its disk."""
    assert plant.manager is not None
    plant.manager.kill()
    plant.manager.wait(timeout=60)
    shutil.rmtree(plant.state)


def restored(plant: Plant, backup: Path, passphrase: Path) -> dict[str, Any]:
    """`sealane restore` and `sealane serve`."""
    said = plant.processes.sealane(
        *("restore", str(backup), str(plant.state), "--passphrase-file", str(passphrase)),
        *("-o", "json"),
    )
    plant.start_manager()
    plant.wait_connected(len(plant.agents))
    shown: dict[str, Any] = json.loads(said)
    return shown


def publish(plant: Plant, models: Models, version: int) -> Path:
    release = models.releases[version]
    layout = plant.pack(release.onnx, release.data, "--probation-seconds", "1")
    plant.publish(layout, version)
    return layout


def roll_out(plant: Plant, version: int) -> str:
    rollout = plant.start_rollout(version, "100%", "--soak", "0s")
    assert plant.wait_ended(rollout)["state"] == "succeeded"
    return rollout


def serving(plant: Plant, device: str) -> str:
    """The release that a device says it serves."""
    shown = json.loads(plant.processes.sealane("device", "show", device, "-o", "json"))
    (slot,) = [each for each in shown["slots"] if each["slot"] == SLOT]
    return str(slot["active_release"])


def listed(plant: Plant) -> list[str]:
    rows = json.loads(plant.processes.sealane("release", "list", "-o", "json"))
    return [row["release"] for row in rows]


def log_of(plant: Plant, device: str) -> str:
    return (plant.folder / "logs" / f"{device}.log").read_text()


def test_a_device_that_is_newer_than_the_backup_is_not_set_back_and_the_next_rollouts_work(
    plant: Plant, models: Models, passphrase: Path
) -> None:
    serve_release_1(plant, models, "box-1")
    backup = backed_up(plant, passphrase)
    second = publish(plant, models, 2)
    roll_out(plant, 2)
    traffic = plant.start_traffic(models.traffic, ["box-1"])
    still_answered(traffic, "2")
    lose_the_manager(plant)
    still_answered(traffic, "2")

    accepted = log_of(plant, "box-1").count("document accepted")
    shown = restored(plant, backup, passphrase)
    assert shown["paused_rollouts"] == "none"
    wait_for(
        "a document from the restored manager",
        lambda: log_of(plant, "box-1").count("document accepted") > accepted or None,
    )
    still_answered(traffic, "2")
    assert serving(plant, "box-1") == f"{MODEL}@2"
    assert listed(plant) == [f"{MODEL}@1", f"{MODEL}@2"]
    adopted = json.loads(
        plant.processes.sealane("audit", "list", "--action", "adopt", "-o", "json")
    )
    assert all(f"serves {MODEL}@2" in line["detail"] for line in adopted)
    assert [line["detail"].rpartition(": ")[2] for line in adopted] == [
        "it stays",
        f"it goes on, although {MODEL}@2 is not listed here; publish it again",
    ]

    roll_out(plant, 1)
    still_answered(traffic, "1")
    plant.publish(second, 2)
    roll_out(plant, 2)
    still_answered(traffic, "2")
    assert "rolled_back" not in log_of(plant, "box-1")
