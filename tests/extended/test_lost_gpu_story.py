"""A device that lost its GPU gets a release with a variant for one: it serves, and says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from demo_story.models import Models, make_models
from demo_story.processes import wait_for
from sealane_agent.runtimes.ability import ask_engine
from sealane_agent.runtimes.inventory import installed_runtimes
from support.story_plant import StoryPlant, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.plant import Plant

BOX, OTHER = "box-1", "box-2"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with running(StoryPlant(tmp_path)) as built:
        yield built


def had_a_gpu(state: Path) -> None:
    """As the agent wrote it down before the driver went."""
    (ort,) = (each for each in installed_runtimes() if each.name == "onnxruntime")
    ability = {"accelerators": ["cpu", "gpu"], "opset": 26, "ir_version": 14, "missing": []}
    known = {"version": f"{ort.version} nvidia 550", "ability": ability, "had": ["cpu", "gpu"]}
    (state / "engines.json").write_text(json.dumps({"onnxruntime": known}))


def looked(plant: Plant, device: str, *command: str) -> tuple[int, dict[str, Any]]:
    state = ("--state", str(plant.folder / device))
    done = plant.processes.run("sealane-agent", command[0], *state, *command[1:])
    return done.returncode, json.loads(done.stdout)


def slot_of(plant: Plant, device: str) -> dict[str, Any] | None:
    shown = json.loads(plant.processes.sealane("device", "show", device, "-o", "json"))
    return next((each for each in shown["slots"] if each["state"] == "committed"), None)


def test_a_device_that_lost_its_gpu_serves_on_the_cpu_and_is_degraded_everywhere(
    plant: Plant, models: Models
) -> None:
    if "gpu" in ask_engine("onnxruntime").accelerators:
        pytest.skip("this machine has a GPU")
    first = models.releases[1]
    gpu = f"cuda-fp32={first.onnx}:onnxruntime:fp32:gpu"
    options = ("--probation-seconds", "1", "--variant", gpu)
    plant.publish(plant.pack(first.onnx, first.data, *options), 1)
    for device in (BOX, OTHER):
        plant.enrol(device)
    had_a_gpu(plant.folder / BOX)
    for device in (BOX, OTHER):
        plant.start_agent(device)
    plant.wait_connected(2)
    rollout = plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))
    assert rollout["state"] == "succeeded"

    why = "not by cuda-fp32 on the gpu: this onnxruntime"
    slot = wait_for("the manager's view", lambda: slot_of(plant, BOX))
    assert why in slot["degraded"]
    other = wait_for("the manager's view", lambda: slot_of(plant, OTHER))
    assert other["degraded"] == "", "it never had one"
    told = [each["detail"] for each in rollout["devices"]]
    assert sum("degraded: it serves on the CPU" in each for each in told) == 1, told
    shown = plant.processes.sealane("device", "show", BOX)
    assert "onnxruntime lost gpu" in shown

    _, status = looked(plant, BOX, "status", "-o", "json")
    (serving,) = (each for each in status["slots"] if each["slot"] == "digits")
    assert why in serving["degraded"]
    code, found = looked(plant, BOX, "doctor", "--json")
    warned = {each["check"]: each["says"] for each in found["findings"] if each["level"] != "well"}
    assert code == 5
    assert "finds it no longer" in warned["accelerators"]
    assert why in warned["slot digits"]
    assert looked(plant, OTHER, "status", "-o", "json")[1]["slots"][0]["degraded"] == ""
