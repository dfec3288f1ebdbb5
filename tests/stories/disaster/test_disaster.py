"""A manager that comes back from an old backup, among devices that are newer than it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from demo_story.plant import MODEL, SLOT
from demo_story.processes import wait_for
from support.backups import PASSPHRASE
from support.repository import ROOT
from support.stories import serve_release_1, still_answered

if TYPE_CHECKING:
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
    """`sealane restore`."""
    said = plant.processes.sealane(
        *("restore", str(backup), str(plant.state), "--passphrase-file", str(passphrase)),
        *("-o", "json"),
    )
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


@dataclass
class Drill:
    """The steps of the drill by the commands that the document names, in its order."""

    plant: Plant
    models: Models
    passphrase: Path
    backup: Path = Path()
    second: Path = Path()
    traffic: Path = Path()

    def back_up(self) -> None:
        """`sealane backup`; then the fleet goes on, and the machine is lost."""
        plant = self.plant
        self.backup = backed_up(plant, self.passphrase)
        self.second = publish(plant, self.models, 2)
        plant.enrol("box-2")
        plant.start_agent("box-2")
        plant.wait_connected(2)
        roll_out(plant, 2)
        self.traffic = plant.start_traffic(self.models.traffic, ["box-1"])
        still_answered(self.traffic, "2")
        lose_the_manager(plant)
        still_answered(self.traffic, "2")

    def restore(self) -> None:
        """`sealane restore`."""
        shown = restored(self.plant, self.backup, self.passphrase)
        assert (shown["paused_rollouts"], shown["put_back_by_hand"]) == ("none", "nothing")

    def serve(self) -> None:
        """`sealane serve`."""
        accepted = log_of(self.plant, "box-1").count("document accepted")
        self.plant.start_manager()
        wait_for(
            "a document from the restored manager",
            lambda: log_of(self.plant, "box-1").count("document accepted") > accepted or None,
        )
        still_answered(self.traffic, "2")

    def list_devices(self) -> None:
        """`sealane device list`: who was enrolled after the backup is not in it."""
        self.plant.wait_connected(1)
        assert serving(self.plant, "box-1") == f"{MODEL}@2"
        shown = json.loads(self.plant.processes.sealane("device", "list", "-o", "json"))
        assert [each["id"] for each in shown] == ["box-1"]

    def list_unknown(self) -> None:
        """`sealane device unknown`: it serves on, and is told why it is not heard."""
        command = ("device", "unknown", "-o", "json")
        found = wait_for(
            "a call of box-2", lambda: json.loads(self.plant.processes.sealane(*command)) or None
        )
        assert [each["device"] for each in found] == ["box-2"]
        said = "device box-2 is not known here; an operator can adopt it"
        wait_for("its log", lambda: said in log_of(self.plant, "box-2") or None)

    def adopt(self) -> None:
        """`sealane device adopt`: the next time it asks it is a device again."""
        plant = self.plant
        plant.processes.sealane(
            *("device", "adopt", "box-2", "--label", "line=2", "--reason", "seen on line 2")
        )
        agent = plant.agents["box-2"]
        agent.terminate()  # it asks within five minutes; one that starts asks at once
        assert agent.wait(timeout=60) == 0
        plant.start_agent("box-2")
        plant.wait_connected(2)
        assert serving(plant, "box-2") == f"{MODEL}@2"

    def list_adopted(self) -> None:
        """`sealane audit list`."""
        command = ("audit", "list", "--action", "adopt", "-o", "json")
        lines = json.loads(self.plant.processes.sealane(*command))
        (person,) = [line for line in lines if "seen on line 2" in line["detail"]]
        assert person["actor"] not in ("restore", "device box-2"), person
        adopted = [line for line in lines if "of box-1 " in line["detail"]]
        assert all(f"serves {MODEL}@2" in line["detail"] for line in adopted)
        assert [line["detail"].rpartition(": ")[2] for line in adopted] == [
            "it stays",
            f"it goes on, although {MODEL}@2 is not listed here; publish it again",
        ]

    def list_releases(self) -> None:
        """`sealane release list`."""
        assert listed(self.plant) == [f"{MODEL}@1", f"{MODEL}@2"]

    def publish_again(self) -> None:
        """`sealane bundle publish` of what came back without its blobs; rollouts work."""
        roll_out(self.plant, 1)
        assert serving(self.plant, "box-2") == f"{MODEL}@1"
        still_answered(self.traffic, "1")
        self.plant.publish(self.second, 2)
        roll_out(self.plant, 2)
        still_answered(self.traffic, "2")


STEPS: Final = {
    "sealane backup": Drill.back_up,
    "sealane restore": Drill.restore,
    "sealane serve": Drill.serve,
    "sealane device list": Drill.list_devices,
    "sealane device unknown": Drill.list_unknown,
    "sealane device adopt": Drill.adopt,
    "sealane audit list --action adopt": Drill.list_adopted,
    "sealane release list": Drill.list_releases,
    "sealane bundle publish": Drill.publish_again,
}


def test_the_drill_sets_no_newer_device_back_and_the_next_rollouts_work(
    plant: Plant, models: Models, passphrase: Path
) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    drill = document.partition("### The drill\n")[2].partition("\n#")[0]
    commands = re.findall(r"`(sealane [^`]+)`", drill)
    assert commands == list(STEPS)
    serve_release_1(plant, models, "box-1")
    doing = Drill(plant, models, passphrase)
    for command in commands:
        STEPS[command](doing)
    assert "rolled_back" not in log_of(plant, "box-1") + log_of(plant, "box-2")
