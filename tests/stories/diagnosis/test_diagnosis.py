"""What a technician sees at the device, with the real programs."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from demo_story.plant import MODEL
from demo_story.processes import wait_for
from support.stories import serve_release_1

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow


def looked(plant: Plant, command: str, *options: str) -> tuple[int, str]:
    """A command's exit code and what it printed."""
    state = ("--state", str(plant.folder / "box-1"))
    done = plant.processes.run("sealane-agent", command, *state, *options)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def failed(text: str) -> list[str]:
    found: dict[str, Any] = json.loads(text)
    return [each["check"] for each in found["findings"] if each["level"] == "failed"]


def rolled_back(plant: Plant) -> dict[str, Any] | None:
    shown = json.loads(plant.processes.sealane("device", "show", "box-1", "-o", "json"))
    slots: list[dict[str, Any]] = shown["slots"]
    return next((each for each in slots if each["state"] == "rolled_back"), None)


def test_a_device_says_itself_what_is_wrong_with_it(
    plant: Plant, models: Models, tmp_path: Path
) -> None:
    serve_release_1(plant, models, "box-1")
    it_is_well(plant)
    it_tells_what_happened(plant)
    the_line_goes_back(plant, models)

    assert plant.manager is not None
    plant.manager.terminate()
    plant.manager.wait()
    code, text = looked(plant, "doctor", "--json")
    assert (code, failed(text)) == (1, ["manager"])
    flip_a_bit(plant)
    code, text = looked(plant, "verify", "--json")
    assert code == 1
    assert "digits active" in failed(text)
    an_archive_holds_all_but_secrets(plant, tmp_path / "support.tar.gz")


def it_is_well(plant: Plant) -> None:
    code, text = looked(plant, "doctor", "--json")
    assert failed(text) == [], text
    findings = json.loads(text)["findings"]
    assert code == (0 if json.loads(text)["level"] == "well" else 5)
    assert "it agrees with the manager's time" in [each["says"] for each in findings]
    assert sum(each["check"] == "manager" for each in findings) == 4, "name, port, TLS, answer"
    assert looked(plant, "verify")[0] == 0


def it_tells_what_happened(plant: Plant) -> None:
    events = [json.loads(line) for line in looked(plant, "history", "--json")[1].splitlines()]
    told = [each["event"] for each in events if each["slot"] == "digits"]
    assert (told[0], told[-1]) == ("accepted", "committed")
    log = plant.folder / "logs" / "box-1.log"
    said = looked(plant, "logs", "--file", str(log), "--slot", "digits", "--json")[1]
    assert json.loads(said.splitlines()[-1])["state"] == "committed"


def the_line_goes_back(plant: Plant, models: Models) -> None:
    second = models.releases[2]
    plant.publish(plant.pack(second.onnx, second.data, "--probation-seconds", "1"), 2)
    assert plant.wait_ended(plant.start_rollout(2, "100%", "--soak", "0s"))["state"] == "succeeded"
    reason = "it misses scratches"
    why = ("--slot", "digits", "--owner", "press 7", "--reason", reason)
    code, text = looked(plant, "rollback", "--json", *why)
    assert (code, json.loads(text)["to"]) == (0, f"{MODEL}@1")
    shown = wait_for("the manager's view", lambda: rolled_back(plant))
    assert shown["active_release"] == f"{MODEL}@1"
    assert shown["failure"]["message"] == f"press 7 rolled it back at the device: {reason}"
    assert looked(plant, "rollback", *why)[0] == 3, "the manager alone can go further back"


def flip_a_bit(plant: Plant) -> None:
    """Of the model that serves."""
    pointer = json.loads((plant.folder / "box-1" / "slots" / "digits" / "active").read_bytes())
    view = plant.folder / "box-1" / "store" / "views" / pointer["manifest"].partition(":")[2]
    largest = max(view.rglob("*.onnx"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def an_archive_holds_all_but_secrets(plant: Plant, archive: Path) -> None:
    assert looked(plant, "support", "-o", str(archive)) == (0, f"{archive}\n")
    key = (plant.folder / "box-1" / "identity" / "device.key").read_text().splitlines()[1].encode()
    with tarfile.open(archive) as opened:
        parts = {each.name: opened.extractfile(each) for each in opened}
        texts = {name: part.read() for name, part in parts.items() if part is not None}
    assert failed(json.dumps({"findings": json.loads(texts["support/verify.json"])}))
    assert not [name for name, text in texts.items() if key in text or b"PRIVATE KEY" in text]
    assert b"identity/device.key" in texts["support/files.txt"], "its name and size are no secret"
