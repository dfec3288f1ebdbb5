"""A device that follows rollouts of the agent, and what its operator does with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from demo_story.processes import BIN, wait_for
from support.stories import serve_release_1
from support.versions import version_tree

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant

SLOT = "sealane-agent"
PACKAGE = "sealane/package@1"
KEPT_PACKAGE = (PACKAGE, PACKAGE, "committed")


def following(plant: Plant, models: Models) -> str:
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
    """Roll a version out to every device; how the rollout ended."""
    return plant.wait_ended(start(plant, release))


def runs(plant: Plant, device: str) -> str:
    """The release of the agent that a device says it runs."""
    return state_of(plant, device)[0]


def state_of(plant: Plant, device: str) -> tuple[str, str, str]:
    """What a device says that it runs, what it would go back to, and how its last try stands."""
    shown = json.loads(plant.processes.sealane("device", "show", device, "-o", "json"))
    (slot,) = [each for each in shown["slots"] if each["slot"] == SLOT]
    return slot["active_release"], slot["lkg_release"], slot["state"]


def start(plant: Plant, release: str, soak: str = "0s") -> str:
    """Start a rollout to every device; its id."""
    started = plant.processes.sealane(
        *("rollout", "start", release, "--slot", SLOT, "--stages", "100%", "--soak", soak),
        *("-o", "json"),
    )
    return str(json.loads(started)["id"])


def wait_runs(plant: Plant, device: str, release: str) -> None:
    """Until a device says that it runs this."""
    wait_for(release, lambda: runs(plant, device) == release or None)
