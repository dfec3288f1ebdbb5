"""Air gap with the real programs: export, carry, import, and meet again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from demo_story.plant import MODEL, SLOT
from demo_story.processes import DemoError, wait_for
from support.stories import refusal, serve_release_1

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow
SECOND = f"{MODEL}@2"


def test_a_kit_brings_a_release_without_network_and_the_manager_takes_it_up(
    plant: Plant, models: Models, tmp_path: Path
) -> None:
    serve_release_1(plant, models, "box-1")
    plant.agents["box-1"].terminate()
    plant.agents["box-1"].wait()
    second = models.releases[2]
    plant.publish(plant.pack(second.onnx, second.data, "--probation-seconds", "1"), 2)
    kit = tmp_path / "release-2.kit"
    plant.processes.sealane(
        *("kit", "export", str(kit), "--release", SECOND, "--slot", SLOT, "--device", "box-1"),
        *("--reason", "the plant has no link"),
    )
    shown = json.loads(plant.processes.sealane("kit", "show", str(kit), "-o", "json"))[0]
    assert (shown["devices"], shown["bytes"] > 1000) == ("box-1", True)
    assert plant.manager is not None
    plant.manager.terminate()
    plant.manager.wait()
    plant.start_agent("box-1")
    wait_for("release 1 without a manager", lambda: serves(plant, 1))

    what_is_no_kit_is_refused(plant, kit, second.onnx.read_bytes())
    brought = json.loads(agent(plant, "import", str(kit), "--json"))
    assert brought["slots"] == {SLOT: SECOND}
    wait_for("release 2 without a manager", lambda: serves(plant, 2))
    wait_for(
        "an empty shelf", lambda: not (plant.folder / "box-1" / "kit" / "kit").exists() or None
    )
    assert json.loads(agent(plant, "import", str(kit), "--json"))["slots"] == {SLOT: SECOND}

    downloads = downloaded(plant)
    plant.start_manager()
    plant.wait_connected(1)
    told = wait_for("what the manager took up", lambda: adopted(plant))
    assert SECOND in told["detail"]
    wait_for("the manager's view", lambda: serves(plant, 2))
    seen = json.loads(plant.processes.sealane("device", "show", "box-1", "-o", "json"))["slots"][0]
    assert (seen["active_release"], seen["state"]) == (SECOND, "committed")
    assert downloaded(plant) == downloads, "nothing is fetched a second time"


def what_is_no_kit_is_refused(plant: Plant, kit: Path, model: bytes) -> None:
    state = ("--state", str(plant.folder / "box-1"))
    cut = kit.with_name("cut.kit")
    cut.write_bytes(kit.read_bytes()[:-1])
    said = refusal("sealane-agent", "import", str(cut), *state)
    assert "its index names" in said.error
    changed = kit.with_name("changed.kit")
    content = bytearray(kit.read_bytes())
    content[content.index(model) + len(model) // 2] ^= 1
    changed.write_bytes(content)
    said = refusal("sealane-agent", "import", str(changed), *state)
    assert "has changed" in said.error
    assert not (plant.folder / "box-1" / "kit" / "kit").exists()


def agent(plant: Plant, *arguments: str) -> str:
    return plant.processes.agent(*arguments, "--state", str(plant.folder / "box-1"))


def serves(plant: Plant, version: int) -> bool | None:
    seen: dict[str, Any] = json.loads(agent(plant, "status", "-o", "json"))
    wanted = f"{MODEL}@{version}"
    return (
        any((each["serves"], each["last_good"]) == (wanted, wanted) for each in seen["slots"])
        or None
    )


def downloaded(plant: Plant) -> int:
    log = (plant.folder / "logs" / "box-1.log").read_text()
    return sum(" download " in line for line in log.splitlines())


def adopted(plant: Plant) -> dict[str, Any] | None:
    try:
        listed = plant.processes.sealane("audit", "list", "--action", "adopt", "-o", "json")
    except DemoError:
        return None
    lines: list[dict[str, Any]] = json.loads(listed)
    return lines[0] if lines else None
