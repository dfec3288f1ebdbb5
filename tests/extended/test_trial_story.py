"""A silently wrong release: it answers every request, and is found on the first device it reaches.

Its golden outputs are its own, so that it proves itself; nothing it answers is an error.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import yaml
from demo_story import report
from demo_story.models import Models, Release, answers, make_models
from demo_story.plant import MODEL, SLOT, Plant
from onnx import numpy_helper
from support.stories import serve_release_1, wrong_answers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow
DEVICE = "box-1"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Release 1, and as release 2 the same one that never names a digit above four."""
    folder = tmp_path_factory.mktemp("models")
    made = make_models(folder)
    wrong = folder / "wrong.onnx"
    turned = onnx.load(made.releases[1].onnx)
    for weights in turned.graph.initializer:
        values = numpy_helper.to_array(weights).copy()
        if values.ndim == 1:
            values[5:] -= 100
        weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    onnx.save(turned, wrong)
    with np.load(made.traffic) as found:
        seen = dict(found) | {"expected_2": answers(wrong, found["rows"])}
    np.savez(made.traffic, **seen)
    return Models({**made.releases, 2: Release(wrong, made.releases[1].data)}, made.traffic)


@pytest.fixture
def plant(tmp_path: Path, models: Models) -> Iterator[Plant]:
    """One device that serves release 1 and is asked all the time; release 2 is published."""
    built = Plant(tmp_path)
    try:
        built.init()
        built.start_manager()
        serve_release_1(built, models, DEVICE)
        second = models.releases[2]
        built.publish(built.pack(second.onnx, second.data, "--probation-seconds", "1"), 2)
        built.start_traffic(models.traffic, [DEVICE])
        yield built
    finally:
        built.stop()


def apply(plant: Plant, **terms: Any) -> str:
    """`sealane apply`; the rollout's id."""
    asked = {"release": f"{MODEL}@2", "slot": SLOT, "stages": ["100%"], "soak": "0s", **terms}
    file = plant.folder / "rollout.yaml"
    file.write_text(yaml.safe_dump({"sealane": "rollout/v1", "name": "wrong", **asked}))
    plant.processes.sealane("apply", "-f", str(file))
    (rollout,) = [
        each
        for each in json.loads(plant.processes.sealane("rollout", "list", "-o", "json"))
        if each["release"] == f"{MODEL}@2"
    ]
    return str(rollout["id"])


def nobody_lost_an_answer(plant: Plant) -> set[str]:
    """Every request was answered as its release answers; the versions that did."""
    requests = report.read_requests(plant.folder / "traffic.csv")
    assert wrong_answers(requests) == []
    return {request.version for request in requests}


def test_it_is_found_by_what_it_predicts_beside_the_release_that_answers_the_others(
    plant: Plant,
) -> None:
    strict = {"checks": {"prediction_shift": {"breach": "fail"}}}
    rollout = apply(plant, split={"share": "20%", "for": "10m"}, gate=strict)
    ended = plant.wait_ended(rollout)
    assert ended["state"] == "reverted", ended
    assert "predicts otherwise than the release beside it" in ended["reason"]
    explained = plant.processes.sealane("gate", "explain", rollout)
    assert "predicts otherwise than the release beside it" in explained
    assert nobody_lost_an_answer(plant) == {"1", "2"}


def test_it_answers_nobody_when_it_gets_copies_first(plant: Plant) -> None:
    rollout = apply(plant, shadow={"for": "20s"})
    ended = plant.wait_ended(rollout)
    assert ended["state"] == "reverted", ended
    (device,) = ended["devices"]
    assert "copies of requests otherwise, more than the allowed 5%" in device["detail"]
    assert nobody_lost_an_answer(plant) == {"1"}
