"""A power cut leaves any state file of the verifier cut, empty, zeroed or gone, and a thief waits.

Whatever is left, what the device had seen before is not forgotten: it refuses what is older, or it
refuses everything and says so.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.errors import TrustError
from sealane.trust import highwater
from support.trust import FACTS, Scene

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.trust.highwater import HighWater

FILES = (
    "highwater.json",
    "bootstrap-root.json",
    "tuf/root.json",
    "tuf/root_history/1.root.json",
    "tuf/root_history/2.root.json",
    "tuf/root_history/3.root.json",
    "tuf/timestamp.json",
    "tuf/snapshot.json",
    "tuf/targets.json",
    "tuf/digits.json",
)


def left_overs(content: bytes) -> Iterator[bytes | None]:
    """What a file may be after a cut: of every class of lengths, with zeros where data was due."""
    yield None
    size = len(content)
    for length in sorted({0, 1, 2, 16, size // 4, size // 2, size - 17, size - 2, size - 1, 512}):
        if 0 <= length < size:
            yield content[:length]
            yield content[:length] + bytes(size - length)
    yield content + bytes(512)


class Plant:
    """A device that has seen much, a copy of its folder, and an old repository for the thief."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scene = Scene(folder / "trust")
        self.scene.authority.rotate("director")
        self.slot = self.scene.authority.approve("digits/classifier@1")
        self.scene.authority.log.add(b"first", b"second")
        self.scene.poll(self.slot)
        self.old = dict(self.scene.authority.files)
        self.old_versions = self._versions()
        self.scene.authority.rotate("targets")
        self.scene.authority.publish_targets()
        self.scene.authority.revoke("digits/classifier@1")
        self.scene.authority.log.add(b"third")
        self.scene.pass_time(timedelta(hours=1))
        self.scene.poll()
        self.seen = highwater.load(self.scene.folder / "highwater.json")
        self.new = dict(self.scene.authority.files)
        shutil.copytree(self.scene.folder, folder / "whole")

    def _versions(self) -> dict[str, int]:
        authority = self.scene.authority
        return {
            "root_version": authority.root.version,
            "snapshot_version": authority.snapshot.version,
        }

    def cut(self, name: str, content: bytes | None) -> None:
        """Everything as it was, but one file as the power cut left it."""
        shutil.rmtree(self.scene.folder)
        shutil.copytree(self.folder / "whole", self.scene.folder)
        path = self.scene.folder / name
        assert path.is_file()
        path.unlink() if content is None else path.write_bytes(content)
        self.scene.restarted()

    def complaint(self) -> str:
        """What the device says to an honest document; empty when it accepts it."""
        try:
            self.scene.poll()
        except TrustError as error:
            return str(error)
        return ""

    def marks(self) -> HighWater | None:
        try:
            return highwater.load(self.scene.folder / "highwater.json")
        except TrustError:
            return None


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    return Plant(tmp_path_factory.mktemp("plant"))


def not_lower(now: HighWater | None, before: HighWater) -> bool:
    """Marks that cannot be read count: nothing at all is accepted then."""
    return now is None or (
        now.root >= before.root
        and now.director.version >= before.director.version
        and now.time.version >= before.time.version
        and now.timestamp.version >= before.timestamp.version
        and now.snapshot.version >= before.snapshot.version
        and now.log.position.size >= before.log.position.size
    )


def test_no_state_file_is_forgotten_here(plant: Plant) -> None:
    whole = plant.folder / "whole"
    assert {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()} == {*FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_cut_state_file_never_lowers_what_was_seen(plant: Plant, name: str) -> None:
    for content in left_overs((plant.folder / "whole" / name).read_bytes()):
        plant.cut(name, content)
        plant.scene.authority.files = dict(plant.old)  # all that the thief delivers is old
        with pytest.raises(TrustError):
            plant.scene.poll(plant.slot, **plant.old_versions)
        assert not_lower(plant.marks(), plant.seen), (name, content)


@pytest.mark.parametrize("name", FILES)
def test_after_a_cut_the_device_goes_on_or_says_what_to_do(plant: Plant, name: str) -> None:
    for content in left_overs((plant.folder / "whole" / name).read_bytes()):
        plant.cut(name, content)
        plant.scene.authority.files = dict(plant.new)
        plant.scene.pass_time(timedelta(seconds=1))
        said = plant.complaint()
        assert not said or name in {"highwater.json", "bootstrap-root.json"}, (content, said)
        assert not_lower(plant.marks(), plant.seen)


def test_an_older_document_stays_refused_after_any_cut(plant: Plant) -> None:
    carried = plant.scene.authority.direct([], None, version=plant.seen.director.version - 1)
    for name in FILES:
        for content in left_overs((plant.folder / "whole" / name).read_bytes()):
            plant.cut(name, content)
            plant.scene.authority.files = dict(plant.new)
            with pytest.raises(TrustError):
                plant.scene.verifier.accept(carried, None, FACTS)
