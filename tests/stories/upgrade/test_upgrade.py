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


HANGS_ON_BOX_2 = """
_runs = run
def run(settings):
    import time
    if settings.folder.root.name == "box-2":
        time.sleep(3600)
    _runs(settings)
"""


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


def add_device(plant: Plant, device: str) -> None:
    """One more that follows rollouts of the agent."""
    plant.enrol(device)
    start_kept(plant, device)
    plant.wait_connected(2)


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
    return state_of(plant, device)[0]


def state_of(plant: Plant, device: str) -> tuple[str, str, str]:
    """What a device says that it runs, what it would go back to, and how its last try stands."""
    shown = json.loads(plant.processes.sealane("device", "show", device, "-o", "json"))
    (slot,) = [each for each in shown["slots"] if each["slot"] == SLOT]
    return slot["active_release"], slot["lkg_release"], slot["state"]


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


def test_the_first_version_ever_fails_and_all_devices_are_back_at_what_they_ran_before(
    plant: Plant, models: Models, device: str
) -> None:
    add_device(plant, "box-2")
    traffic = plant.start_traffic(models.traffic, [device])
    still_answered(traffic)
    ended = roll_out(plant, publish(plant, 1, "77.1", HANGS_ON_BOX_2))
    assert ended["state"] == "reverted", ended
    said = {each["device"]: (each["state"], each["detail"]) for each in ended["devices"]}
    assert said["box-1"] == ("rolled_back", "serves sealane/package@1 again"), said
    assert said["box-2"][0] == "rolled_back", said
    kept = ("sealane/package@1", "sealane/package@1", "committed")
    wait_for("the package's version", lambda: state_of(plant, device) == kept or None)
    assert runs(plant, "box-2") == "sealane/package@1"
    still_answered(traffic)

    ended = roll_out(plant, publish(plant, 2, "77.2"))
    assert ended["state"] == "succeeded", ended
    assert runs(plant, device) == runs(plant, "box-2") == "sealane/agent@2"
    still_answered(traffic)
