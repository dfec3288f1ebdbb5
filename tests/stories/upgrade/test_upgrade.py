"""New versions of the agent come by a rollout, under requests: good ones and bad ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from demo_story.processes import BIN, wait_for
from sealane_agent.upgrade.starts import CRASHES
from support.stories import serve_release_1, still_answered
from support.versions import version_tree

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow

SLOT = "sealane-agent"


@pytest.fixture
def device(plant: Plant, models: Models) -> str:
    """A device that serves, follows rollouts of the agent, and is started again when it ends."""
    plant.processes.sealane("trust", "add-family", "sealane", "--state", str(plant.state))
    serve_release_1(plant, models, "box-1")
    agent = plant.agents.pop("box-1")
    agent.terminate()
    assert agent.wait(timeout=60) == 0
    start_kept(plant, "box-1")
    plant.wait_connected(1)
    return "box-1"


def start_kept(plant: Plant, device: str) -> None:
    """`sealane-agent run`, again and again, as a service manager does."""
    configuration = plant.folder / "agent.toml"
    configuration.write_text('[upgrade]\nby = "rollout"\ndeadline = 10\n')
    command = (
        *(f"{BIN}/sealane-agent run --state {plant.folder / device} --config {configuration}",),
        "--rest 127.0.0.1:0 --grpc 127.0.0.1:0",
    )
    once = f"{' '.join(command)} & wait $!; sleep 0.5"
    again = f"trap 'kill $!; wait $!; exit' TERM; while :; do {once}; done"
    plant.agents[device] = plant.processes.start(device, "sh", "-c", again)


def crash(plant: Plant, device: str) -> None:
    """End the version that a rollout brought without a word, once it has begun."""
    keeper = psutil.Process(plant.agents[device].pid)

    def begun() -> psutil.Process | None:
        found = [each for each in keeper.children() if "/versions/" in " ".join(each.cmdline())]
        return found[0] if found else None

    supervisor = wait_for("a supervisor", begun)
    supervisor.kill()
    wait_for("its end", lambda: True if supervisor not in keeper.children() else None)


def publish(plant: Plant, number: int, version: str, added: str = "", **options: str) -> str:
    """`sealane agent pack` and `sealane bundle publish`; the release's name."""
    tree = version_tree(plant.folder / f"tree-{number}", version, added)
    return publish_tree(plant, number, tree, **options)


def publish_tree(plant: Plant, number: int, tree: Path, arch: str = "x86_64") -> str:
    out, release = plant.folder / f"agent-{number}", f"sealane/agent@{number}"
    plant.processes.sealane(
        *("agent", "pack", str(tree), "--out", str(out), "--arch", arch),
        *("--probation-seconds", "2"),
    )
    plant.processes.sealane("bundle", "publish", str(out), "--release", release)
    return release


def roll_out(plant: Plant, release: str) -> dict[str, Any]:
    started = plant.processes.sealane(
        *("rollout", "start", release, "--slot", SLOT, "--stages", "100%", "--soak", "0s"),
        *("-o", "json"),
    )
    return plant.wait_ended(str(json.loads(started)["id"]))


def runs(plant: Plant, device: str) -> str:
    """The release of the agent that a device says it runs."""
    shown = json.loads(plant.processes.sealane("device", "show", device, "-o", "json"))
    (slot,) = [each for each in shown["slots"] if each["slot"] == SLOT]
    return str(slot["active_release"])


def test_a_version_comes_by_a_rollout_and_no_request_is_lost(
    plant: Plant, models: Models, device: str
) -> None:
    traffic = plant.start_traffic(models.traffic, [device])
    still_answered(traffic)
    assert runs(plant, device) == "sealane/package@1"
    ended = roll_out(plant, publish(plant, 1, "77.1"))
    assert ended["state"] == "succeeded", ended
    assert runs(plant, device) == "sealane/agent@1"
    said = plant.processes.agent("status", "--state", str(plant.folder / device), "-o", "json")
    served = {each["slot"]: each["serves"] for each in json.loads(said)["slots"]}
    assert served[SLOT] == "sealane/agent@1"
    still_answered(traffic)

    hangs = "def run(settings):\n    import time\n    time.sleep(3600)\n"
    ended = roll_out(plant, publish(plant, 2, "77.2", hangs))
    assert ended["state"] == "reverted", ended
    wait_for("the old version", lambda: runs(plant, device) == "sealane/agent@1" or None)
    still_answered(traffic)

    for _ in range(CRASHES):
        crash(plant, device)
    wait_for("the package's version", lambda: runs(plant, device) == "sealane/package@1" or None)
    still_answered(traffic)
