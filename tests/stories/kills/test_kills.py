from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from demo_story import report
from demo_story.plant import Plant, let_answer
from demo_story.processes import wait_for
from support.stories import SLOW_KB, large_model, largest, serve_release_1
from support.story_plant import StoryPlant, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo_story.models import Models

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Line:
    """A plant whose device box-1 serves release 1, and the log of its requests."""

    plant: Plant
    log: Path


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Line]:
    """Its link is so slow that a download can be caught."""
    with running(StoryPlant(tmp_path_factory.mktemp("line"))) as plant:
        plant.link_rate_kb = SLOW_KB
        serve_release_1(plant, models, "box-1")
        yield Line(plant, plant.start_traffic(models.traffic, ["box-1"]))


def test_a_worker_killed_under_requests_costs_none_of_them(line: Line) -> None:
    plant, log = line.plant, line.log
    worker = plant.worker("box-1")
    worker.send_signal(signal.SIGKILL)
    wait_for("another worker", lambda: plant.worker("box-1").pid != worker.pid or None)
    seen = len(report.read_requests(log))
    wait_for("more answers", lambda: len(report.read_requests(log)) > seen + 50 or None)

    requests = report.read_requests(log)
    assert {(request.version, request.outcome) for request in requests} == {("1", "ok")}


def test_a_supervisor_killed_in_the_middle_of_a_download_goes_on_where_it_was(
    line: Line, models: Models, tmp_path: Path
) -> None:
    plant, log = line.plant, line.log
    large = plant.pack(large_model(tmp_path), models.releases[1].data, "--probation-seconds", "1")
    plant.publish(large, 7)
    partial = plant.folder / "box-1" / "store" / "partial"

    def downloading() -> int | None:
        size = largest(partial)
        return size if size > 1_000_000 else None

    rollout = plant.start_rollout(7, "100%", "--soak", "0s")
    deadline = time.monotonic() + 60
    while downloading() is None and time.monotonic() < deadline:
        os.sched_yield()
    plant.agents["box-1"].kill()
    plant.agents["box-1"].wait()
    caught = downloading()
    assert caught is not None, "the download was over before it could be caught"
    let_answer(1.0)
    plant.start_agent("box-1")

    ended = plant.wait_ended(rollout)
    assert (ended["state"], ended["reason"]) == ("succeeded", "1 of 1 judged devices serve")
    requests = report.read_requests(log)
    assert not [request for request in requests if request.version == "-"]
    assert requests[-1].version == "7"


def test_a_manager_killed_in_the_middle_of_a_rollout_finishes_it_after_its_restart(
    plant: Plant, models: Models
) -> None:
    devices = ["box-1", "box-2", "box-3"]
    for version in (1, 2):
        release = models.releases[version]
        plant.publish(plant.pack(release.onnx, release.data, "--probation-seconds", "2"), version)
    for device in devices:
        plant.enrol(device)
        plant.start_agent(device)
    plant.wait_connected(3)
    plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))
    log = plant.start_traffic(models.traffic, devices)
    rollout = plant.start_rollout(2, "1,100%", "--soak", "1s")
    wait_for(
        "the first device under way",
        lambda: any(d["state"] != "waiting" for d in plant.rollout(rollout)["devices"]) or None,
    )
    assert plant.manager is not None
    plant.manager.kill()
    plant.manager.wait()
    let_answer(2.0)
    plant.start_manager()

    ended = plant.wait_ended(rollout)
    assert (ended["state"], ended["reason"]) == ("succeeded", "3 of 3 judged devices serve")
    requests = report.read_requests(log)
    assert not [request for request in requests if request.version == "-"]
    last = {request.device: request.version for request in requests}
    assert last == dict.fromkeys(devices, "2")
