"""A fleet leaves development mode, changes hands and keys, and its device never notices."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from demo_story.models import Models, make_models
from demo_story.plant import MODEL, SLOT, Plant
from support.people import FAMILY, People
from support.stories import refusal, serve_release_1, still_answered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, models: Models) -> Iterator[People]:
    plant = Plant(tmp_path_factory.mktemp("ceremonies"))
    home = tmp_path_factory.mktemp("homes")
    made = People(plant, home)
    try:
        plant.init()
        plant.start_manager()
        serve_release_1(plant, models, "box-1")
        plant.start_traffic(models.traffic, ["box-1"])
        yield made
    finally:
        plant.stop()


@pytest.fixture
def log(people: People) -> Path:
    return people.plant.folder / "traffic.csv"


def test_a_fleet_leaves_development_mode_and_its_device_stays(people: People, log: Path) -> None:
    people.type("trust", "new-key", "ana", "--out", people.home / "ana")
    people.arrive("ben", "eva", "kim", "lea", "max")
    said = people.convert()
    assert f"{FAMILY} then needs 2 of 2 signatures, before 1 of 1" in said
    assert people.waiting() == [FAMILY, "root", "targets"]
    # One signs in a file that is carried, the others call the manager.
    file = people.home / "changes.json"
    people.type("trust", "export", file)
    assert "1 signatures are in" in people.type(
        "trust", "sign", file, "--key", people.key("ana"), "--yes"
    )
    people.type("trust", "submit", file)
    for name in ("kim", "lea", "max"):
        people.type("trust", "sign", "--key", people.key(name), "--yes")
    assert people.waiting() == [FAMILY, "root", "targets"]
    assert "published: root, targets" in people.type(
        "trust", "sign", "--key", people.key("eva"), "--yes"
    )
    assert people.waiting() == []
    left = sorted(path.name for path in (people.plant.state / "keys").iterdir())
    assert left == ["director.pem", "snapshot.pem", "timestamp.pem"]
    still_answered(log)


def test_a_release_waits_for_its_second_approval_and_then_reaches_the_device(
    people: People, models: Models, log: Path
) -> None:
    plant, second = people.plant, models.releases[2]
    layout = plant.pack(second.onnx, second.data, "--probation-seconds", "1")
    name = f"{MODEL}@2"
    said = people.type(
        *("bundle", "propose", layout, "--release", name, "--slot", SLOT, "--reason", "CHG-7")
    )
    assert f"sealane bundle approve {name}" in said
    people.type("bundle", "approve", name, "--key", people.key("lea"), "--bundle", layout, "--yes")
    assert name not in people.type("release", "list")
    found = refusal(
        *("sealane", "rollout", "start", name, "--slot", SLOT),
        environment=people.environment,
    )
    assert name in found.error
    approved = people.type("bundle", "approve", name, "--key", people.key("max"), "--yes")
    assert "CHG-7" in approved
    assert f"{name} is published" in approved
    assert plant.wait_ended(plant.start_rollout(2, "100%", "--soak", "0s"))["state"] == "succeeded"
    people.serves(2)
    still_answered(log, "2")


def test_whoever_holds_another_bundle_than_the_proposed_one_is_told(
    people: People, models: Models
) -> None:
    first = models.releases[1]
    layout = people.plant.folder / f"bundle-{first.onnx.stem}"
    people.type("bundle", "propose", layout, "--release", f"{MODEL}@3", "--slot", SLOT)
    other = people.plant.folder / f"bundle-{models.releases[2].onnx.stem}"
    found = refusal(
        *("sealane", "bundle", "approve", f"{MODEL}@3", "--key", str(people.key("lea"))),
        *("--bundle", str(other), "--yes"),
        environment=people.environment,
    )
    assert "is another bundle" in found.error
    people.type("trust", "withdraw", FAMILY)


def test_the_directors_key_is_replaced_while_the_line_runs(people: People, log: Path) -> None:
    state = people.plant.state
    before = (state / "keys" / "director.pem").read_bytes()
    people.type("trust", "rotate", "director", "--state", state, "--reason", "it was on a laptop")
    for name in ("ana", "ben"):
        people.type("trust", "sign", "--key", people.key(name), "--yes")
    left = [path.read_bytes() for path in (state / "keys").iterdir()]
    assert len(left) == 3
    assert before not in left
    plant = people.plant
    assert plant.wait_ended(plant.start_rollout(1, "100%", "--soak", "0s"))["state"] == "succeeded"
    people.serves(1)
    still_answered(log)


def test_a_revoked_release_is_started_nowhere_and_one_holder_cannot_revoke(
    people: People, log: Path
) -> None:
    name = f"{MODEL}@2"
    said = people.type("bundle", "revoke", name, "--reason", "night", "--key", people.key("lea"))
    assert "still listed" in said
    assert name in people.type("release", "list")
    people.type("trust", "sign", "--key", people.key("max"), "--yes")
    assert name not in people.type("release", "list")
    found = refusal(
        *("sealane", "rollout", "start", name, "--slot", SLOT), environment=people.environment
    )
    assert name in found.error
    still_answered(log)


def test_a_lost_key_is_replaced_and_what_it_signed_stays(people: People, log: Path) -> None:
    people.arrive("zoe")
    people.type("trust", "rotate", FAMILY, "max", people.public("zoe"), "--reason", "max left")
    for name in ("kim", "lea", "zoe"):
        people.type("trust", "sign", "--key", people.key(name), "--yes")
    assert people.waiting() == []
    rows = json.loads(people.type("trust", "show", "-o", "json"))
    holders = next(row["holders"] for row in rows if row["role"] == FAMILY)
    assert sorted(holders) == ["lea", "zoe"]
    assert f"{MODEL}@1" in people.type("release", "list")
    still_answered(log)
