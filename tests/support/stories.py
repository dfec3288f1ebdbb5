"""What stories share: a device that serves, a model of some size, and what a command refused."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from demo_story import report
from demo_story.processes import wait_for
from onnx import TensorProto, helper, numpy_helper
from support.commands import Given, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from demo_story.models import Models
    from demo_story.plant import Plant
    from demo_story.report import Request

LARGE_ROWS = 160_000
SLOW_KB = 10_000
"""Kilobytes a second of a link on which a large model can be caught on its way."""
ANSWERS = 20
"""How many more requests must be answered before a story believes that the line goes on."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a command ended that did not do what it was asked."""

    code: int
    error: str
    hint: str


def refusal(program: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Refusal:
    """Run a command that must refuse: one line says what is wrong, a second one what to do."""
    done = run(program, *arguments, given=Given(environment or os.environ))
    assert done.returncode != 0, f"it did not refuse: {done.stdout}"
    assert done.stdout == "", f"a refusal goes to stderr: {done.stdout}"
    said = [line for line in done.stderr.splitlines() if not line[:4].isdigit()]  # no log lines
    assert len(said) == 2, f"expected an error and a hint: {done.stderr}"
    error, hint = said
    assert error.startswith("error: "), done.stderr
    assert hint.startswith("hint: "), done.stderr
    return Refusal(done.returncode, error.removeprefix("error: "), hint.removeprefix("hint: "))


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with its digest, to compare before and after."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def serve_release_1(plant: Plant, models: Models, device: str) -> None:
    """Enrol and start a device, and bring release 1 to it."""
    first = models.releases[1]
    plant.publish(plant.pack(first.onnx, first.data, "--probation-seconds", "1"), 1)
    plant.enrol(device)
    plant.start_agent(device)
    plant.wait_connected(1)
    assert plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))["state"] == "succeeded"


def still_answered(log: Path, version: str = "1") -> None:
    """The line goes on: more requests are answered, and none since the beginning failed."""
    seen = len(report.read_requests(log))
    wait_for("more answers", lambda: len(report.read_requests(log)) >= seen + ANSWERS or None)
    requests = report.read_requests(log)
    assert wrong_answers(requests) == []
    assert requests[-1].version == version


def samples(plant: Plant) -> list[dict[str, Any]]:
    """`sealane sample list`."""
    return list(json.loads(plant.processes.sealane("sample", "list", "-o", "json")))


def wrong_answers(requests: list[Request]) -> list[Request]:
    """Requests that got no answer, or not what their release answers in-process."""
    return [request for request in requests if request.outcome not in ("ok", "unchecked")]


def largest(folder: Path) -> int:
    """Bytes of the largest file; 0 for no folder, and when a file goes while this looks."""
    try:
        return max((path.stat().st_size for path in folder.iterdir()), default=0)
    except FileNotFoundError:
        return 0


def large_model(folder: Path, seed: int = 7) -> Path:
    """A model of about 40 MB, so that its transport can be caught in the middle."""
    weights = np.random.default_rng(seed).standard_normal((LARGE_ROWS, 64)).astype(np.float32)
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
    path = folder / f"large-{seed}.onnx"
    onnx.save(model, path)
    return path
