"""The kill switch with a real model under requests, in its manager's absence too."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from demo_story import report
from demo_story.models import make_models
from demo_story.plant import MODEL, SLOT, Plant
from demo_story.processes import wait_for
from support.stories import ANSWERS, serve_release_1
from support.story_plant import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models

pytestmark = pytest.mark.slow


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return make_models(tmp_path / "models")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with running(Plant(tmp_path)) as built:
        yield built


def versions(plant: Plant, device: str) -> list[str]:
    """The versions that a client may name, as the endpoint says; none while it starts."""
    address = f"http://{plant.endpoint(device)['rest']}/v2/models/{SLOT}"
    try:
        with urlopen(address, timeout=10) as answer:
            found: list[str] = json.load(answer)["versions"]
    except OSError:
        return []
    return found


def test_a_release_in_quarantine_answers_nothing_any_more_not_even_for_a_worker_that_crashed(
    plant: Plant, models: Models
) -> None:
    serve_release_1(plant, models, "box-1")
    second = models.releases[2]
    plant.publish(plant.pack(second.onnx, second.data, "--probation-seconds", "1"), 2)
    log = plant.start_traffic(models.traffic, ["box-1"])
    assert plant.wait_ended(plant.start_rollout(2, "100%", "--soak", "0s"))["state"] == "succeeded"
    wait_for("both are warm", lambda: versions(plant, "box-1") == ["2", "1"] or None)

    plant.processes.sealane("quarantine", "put", f"{MODEL}@2", "--reason", "wrong labels")
    wait_for("one is left", lambda: versions(plant, "box-1") == ["1"] or None)
    gone = len(report.read_requests(log))

    worker = plant.worker("box-1")
    worker.send_signal(signal.SIGKILL)
    wait_for("another worker", lambda: plant.worker("box-1").pid != worker.pid or None)
    answered(log, ANSWERS)
    assert plant.manager is not None
    plant.manager.kill()
    plant.agents["box-1"].terminate()
    plant.agents["box-1"].wait()
    plant.start_agent("box-1")
    wait_for("it serves again", lambda: versions(plant, "box-1") or None)
    assert versions(plant, "box-1") == ["1"]

    after = report.read_requests(log)[gone:]
    assert {request.version for request in after} <= {"1", "-"}


def answered(log: Path, more: int) -> None:
    """Wait for more answers of release 1."""

    def count() -> int:
        return sum(request.version == "1" for request in report.read_requests(log))

    seen = count()
    wait_for("more answers", lambda: count() >= seen + more or None)
