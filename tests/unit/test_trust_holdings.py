"""A device judges again what it holds of the repository, without network."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TrustError
from sealane.names import ReleaseName
from sealane.trust import held
from sealane.trust.holdings import Holdings
from support.trust import Scene

if TYPE_CHECKING:
    from pathlib import Path

RELEASE = "vision/defect@7"
NAME = ReleaseName.parse(RELEASE)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "trust")


def held_by(scene: Scene, tmp_path: Path) -> Holdings:
    return Holdings.of(scene.folder, tmp_path / "scratch")


def test_what_was_accepted_is_still_signed_long_after_it_expired(
    scene: Scene, tmp_path: Path
) -> None:
    wanted = scene.authority.approve(RELEASE)
    scene.poll(wanted)
    scene.pass_time(timedelta(days=1000))
    assert held_by(scene, tmp_path).manifest(NAME) == wanted.manifest


def test_a_newer_root_is_followed_from_the_folder(scene: Scene, tmp_path: Path) -> None:
    scene.poll(scene.authority.approve(RELEASE))
    scene.authority.rotate("director")
    wanted = scene.authority.approve("vision/defect@8")
    scene.poll(wanted)
    assert held_by(scene, tmp_path).manifest(wanted.release) == wanted.manifest


def test_a_release_that_was_revoked_is_not_listed(scene: Scene, tmp_path: Path) -> None:
    wanted = scene.authority.approve(RELEASE)
    other = scene.authority.approve("vision/defect@8")
    scene.poll(wanted)
    scene.authority.revoke(RELEASE)
    scene.poll(other)
    assert held_by(scene, tmp_path).manifest(NAME) is None


@pytest.mark.parametrize("role", ["snapshot", "targets", "vision"])
def test_metadata_that_somebody_changed_is_not_believed(
    scene: Scene, tmp_path: Path, role: str
) -> None:
    scene.poll(scene.authority.approve(RELEASE))
    path = scene.folder / held.CACHE / f"{role}.json"
    content = json.loads(path.read_bytes())
    content["signed"]["spec_version"] = "1.0.30"
    path.write_text(json.dumps(content))
    if role == "vision":
        assert held_by(scene, tmp_path).manifest(NAME) is None
        return
    with pytest.raises(TrustError):
        held_by(scene, tmp_path)


def test_the_folder_itself_is_left_as_it_is(scene: Scene, tmp_path: Path) -> None:
    scene.poll(scene.authority.approve(RELEASE))
    before = {path: path.read_bytes() for path in scene.folder.rglob("*") if path.is_file()}
    held_by(scene, tmp_path).manifest(NAME)
    after = {path: path.read_bytes() for path in scene.folder.rglob("*") if path.is_file()}
    assert after == before


def test_a_device_that_accepted_nothing_yet_says_so(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(TrustError):
        held_by(scene, tmp_path)
