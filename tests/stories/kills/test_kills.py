from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from demo_story import report
from demo_story.plant import Plant, let_answer
from demo_story.processes import wait_for
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from demo_story.models import Models

pytestmark = pytest.mark.slow

LARGE_ROWS = 160_000


def _large_model(folder: Path) -> Path:
    """A model of about 40 MB, so that its download can be caught in the middle."""
    weights = np.random.default_rng(7).standard_normal((LARGE_ROWS, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["pixels", "across"], ["wide"]),
            helper.make_node("MatMul", ["wide", "weights"], ["narrow"]),
            helper.make_node("Slice", ["narrow", "from", "to", "axis"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "large",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(np.ascontiguousarray(weights.T[:, :64]), "across"),
            numpy_helper.from_array(weights[:64] / 64, "weights"),
            numpy_helper.from_array(weights, "ballast"),
            numpy_helper.from_array(np.array([0]), "from"),
            numpy_helper.from_array(np.array([10]), "to"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    path = folder / "large.onnx"
    onnx.save(model, path)
    return path


def _device_with_release_1(plant: Plant, models: Models, device: str) -> None:
    first = models.releases[1]
    plant.publish(plant.pack(first.onnx, first.data, "--probation-seconds", "1"), 1)
    plant.enrol(device)
    plant.start_agent(device)
    plant.wait_connected(1)
    assert plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))["state"] == "succeeded"


def test_a_supervisor_killed_in_the_middle_of_a_download_goes_on_where_it_was(
    plant: Plant, models: Models, tmp_path: Path
) -> None:
    _device_with_release_1(plant, models, "box-1")
    log = plant.start_traffic(models.traffic, ["box-1"])
    large = plant.pack(_large_model(tmp_path), models.releases[1].data, "--probation-seconds", "1")
    plant.publish(large, 7)
    partial = tmp_path / "box-1" / "store" / "partial"

    def downloading() -> int | None:
        sizes = [path.stat().st_size for path in partial.iterdir()] if partial.is_dir() else []
        return max(sizes, default=0) if max(sizes, default=0) > 1_000_000 else None

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


def test_a_worker_killed_under_requests_costs_none_of_them(plant: Plant, models: Models) -> None:
    _device_with_release_1(plant, models, "box-1")
    log = plant.start_traffic(models.traffic, ["box-1"])
    worker = plant.worker("box-1")
    worker.send_signal(signal.SIGKILL)
    wait_for("another worker", lambda: plant.worker("box-1").pid != worker.pid or None)
    seen = len(report.read_requests(log))
    wait_for("more answers", lambda: len(report.read_requests(log)) > seen + 50 or None)

    requests = report.read_requests(log)
    assert {(request.version, request.outcome) for request in requests} == {("1", "ok")}


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
