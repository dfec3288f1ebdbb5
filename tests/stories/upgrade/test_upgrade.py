"""New versions of the agent come by a rollout, under requests: good ones and bad ones."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from demo_story.processes import wait_for
from sealane_agent.upgrade.starts import CRASHES
from support.stories import still_answered
from support.upgrades import (
    KEPT_PACKAGE,
    PACKAGE,
    SLOT,
    following,
    publish,
    roll_out,
    runs,
    start,
    state_of,
    wait_runs,
)

if TYPE_CHECKING:
    from demo_story.models import Models
    from demo_story.plant import Plant

pytestmark = pytest.mark.slow


@pytest.fixture
def device(plant: Plant, models: Models) -> str:
    return following(plant, models)


def crash(plant: Plant, device: str) -> None:
    """End the version that a rollout brought without a word, once it has begun."""
    keeper = psutil.Process(plant.agents[device].pid)

    def begun() -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):  # a child that ends while it is looked at
            found = [each for each in keeper.children() if "/versions/" in " ".join(each.cmdline())]
            return found[0] if found else None
        return None

    supervisor = wait_for("a supervisor", begun)
    supervisor.kill()
    wait_for("its end", lambda: True if supervisor not in keeper.children() else None)


def test_a_version_comes_by_a_rollout_and_no_request_is_lost(
    plant: Plant, models: Models, device: str
) -> None:
    traffic = plant.start_traffic(models.traffic, [device])
    still_answered(traffic)
    assert runs(plant, device) == PACKAGE
    first = publish(plant, 1, "77.1")
    taken_back = start(plant, first, soak="1h")
    kept = (first, first, "committed")
    wait_for("its commit", lambda: state_of(plant, device) == kept or None)
    plant.processes.sealane("rollout", "revert", taken_back, "--reason", "not on this line")
    ended = plant.wait_ended(taken_back)
    (said,) = ended["devices"]
    assert (ended["state"], said["state"]) == ("reverted", "rolled_back")
    assert said["detail"] == f"serves {PACKAGE} again"
    wait_for("the package's version", lambda: state_of(plant, device) == KEPT_PACKAGE or None)
    still_answered(traffic)

    ended = roll_out(plant, first)
    assert ended["state"] == "succeeded", ended
    assert runs(plant, device) == "sealane/agent@1"
    said = plant.processes.agent("status", "--state", str(plant.folder / device), "-o", "json")
    served = {each["slot"]: each["serves"] for each in json.loads(said)["slots"]}
    assert served[SLOT] == "sealane/agent@1"
    still_answered(traffic)

    hangs = "def run(settings):\n    import time\n    time.sleep(3600)\n"
    ended = roll_out(plant, publish(plant, 2, "77.2", hangs))
    assert ended["state"] == "reverted", ended
    wait_runs(plant, device, first)
    still_answered(traffic)

    for _ in range(CRASHES):
        crash(plant, device)
    wait_runs(plant, device, PACKAGE)
    still_answered(traffic)
