"""Releases that prove themselves and go wrong on real digits: each is stopped in its first stage.

All checks are on together; the summary tells which of them caught what, and when.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from demo_story import report
from demo_story.models import make_models
from demo_story.plant import MODEL, SLOT, Plant
from support.bad_models import GOOD, NAMES, make_bad_models
from support.figures import FIGURE
from support.stories import wrong_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from demo_story.models import Models

pytestmark = pytest.mark.slow

DEVICES: Final = ("box-1", "box-2", "box-3")
TERMS: Final = {
    "slot": SLOT,
    "stages": ["1", "100%"],
    "soak": "1s",
    "shadow": {"for": "10s"},
    "split": {"share": "50%", "for": "10s"},
}
WATCHED: Final = ("--probation-seconds", "5", "--probation-requests", "100")
PATIENCE_S: Final = 180.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    return make_bad_models(folder, make_models(folder))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[Plant]:
    """Three devices that serve release 1 and are asked all the time."""
    built = Plant(tmp_path_factory.mktemp("plant"))
    try:
        built.init()
        built.start_manager()
        publish(built, models, 1, "--probation-seconds", "1")
        for device in DEVICES:
            built.enrol(device)
            built.start_agent(device)
        built.wait_connected(len(DEVICES))
        first = built.start_rollout(1, "100%", "--soak", "0s")
        assert built.wait_ended(first)["state"] == "succeeded"
        built.start_traffic(models.traffic, DEVICES)
        yield built
    finally:
        built.stop()


def publish(plant: Plant, models: Models, version: int, *watched: str) -> None:
    """Pack and publish one release; its golden outputs are what it answers itself."""
    release = models.releases[version]
    plant.publish(plant.pack(release.onnx, release.data, *watched), version)


def apply(plant: Plant, version: int) -> str:
    """`sealane apply` of the terms; the rollout's id."""
    name = f"release-{version}"
    file = plant.folder / f"{name}.yaml"
    asked = {"sealane": "rollout/v1", "name": name, "release": f"{MODEL}@{version}", **TERMS}
    file.write_text(yaml.safe_dump(asked))
    plant.processes.sealane("apply", "-f", str(file))
    listed = json.loads(plant.processes.sealane("rollout", "list", "-o", "json"))
    return next(str(each["id"]) for each in listed if each["release"] == asked["release"])


@pytest.mark.parametrize("version", [v for v in NAMES if v != GOOD], ids=NAMES.get)
def test_a_bad_release_is_stopped_in_its_first_stage_and_taken_back(
    plant: Plant, models: Models, version: int, record_property: Callable[[str, object], None]
) -> None:
    publish(plant, models, version, *WATCHED)
    began = time.monotonic()
    ended = plant.wait_ended(apply(plant, version), PATIENCE_S)
    took = time.monotonic() - began
    assert ended["state"] == "reverted", ended
    assert ended["stage"] == 0
    reached = [each for each in ended["devices"] if each["state"] not in ("waiting", "skipped")]
    assert len(reached) == 1
    record_property(FIGURE, f"{NAMES[version]}: after {took:.0f} s, {said(ended)}")
    nobody_went_without_an_answer(plant, version)


def test_a_good_release_reaches_every_device(
    plant: Plant, models: Models, record_property: Callable[[str, object], None]
) -> None:
    publish(plant, models, GOOD, *WATCHED)
    began = time.monotonic()
    ended = plant.wait_ended(apply(plant, GOOD), PATIENCE_S)
    assert ended["state"] == "succeeded", ended
    record_property(FIGURE, f"good: after {time.monotonic() - began:.0f} s, {ended['reason']}")
    nobody_went_without_an_answer(plant, GOOD)


def said(ended: dict[str, Any]) -> str:
    """Why it was taken back, in the words that an operator reads."""
    return str(ended["reason"])


def nobody_went_without_an_answer(plant: Plant, version: int) -> None:
    """Every request was answered, and as the release that answered it does."""
    requests = report.read_requests(plant.folder / "traffic.csv")
    assert wrong_answers(requests) == [], version
