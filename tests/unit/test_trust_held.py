"""What a device can give back of the repository that it verified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from sealane import limits
from sealane.fleet import Memory, MetadataFile
from sealane.trust import anchor, held, highwater
from sealane.trust.highwater import HighWater, Mark

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    cache = tmp_path / held.CACHE
    (cache / "root_history").mkdir(parents=True)
    for role, version in (("targets", 3), ("vision", 7), ("snapshot", 9), ("timestamp", 9)):
        (cache / f"{role}.json").write_bytes(signed(version))
    for version in (1, 2, 3):
        (cache / "root_history" / f"{version}.root.json").write_bytes(signed(version))
    (cache / "root.json").symlink_to("root_history/3.root.json")
    highwater.save(tmp_path / anchor.MARKS_FILE, HighWater(root=3, director=Mark("k", 42)))
    return tmp_path


def signed(version: object) -> bytes:
    return json.dumps({"signed": {"version": version}}).encode()


def test_a_device_remembers_documents_and_every_offline_role(folder: Path) -> None:
    assert held.memory(folder) == Memory(42, {"root": 3, "targets": 3, "vision": 7})


def test_roots_come_first_in_order_then_targets_then_families(folder: Path) -> None:
    found = held.files(folder, {"vision": 6, "targets": 0, "root": 1})
    assert list(found) == [
        MetadataFile("root", signed(2)),
        MetadataFile("root", signed(3)),
        MetadataFile("targets", signed(3)),
        MetadataFile("vision", signed(7)),
    ]


@pytest.mark.parametrize(
    "above",
    [
        {},
        {"root": 3, "targets": 3, "vision": 7},
        {"snapshot": 0, "timestamp": 0},
        {"../../etc/passwd": 0, "unknown": 0},
        {"root": 2**63},
    ],
)
def test_nothing_else_is_given(folder: Path, above: dict[str, int]) -> None:
    assert list(held.files(folder, above)) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", signed("7"), signed(-1), signed(None)])
def test_a_damaged_file_is_not_remembered(folder: Path, content: bytes) -> None:
    (folder / held.CACHE / "vision.json").write_bytes(content)
    assert "vision" not in held.memory(folder).metadata
    assert list(held.files(folder, {"vision": 0})) == []


def test_a_file_that_fits_in_no_message_is_left_out(folder: Path) -> None:
    large = signed(8)[:-1] + b" " * limits.METADATA_FILE_BYTES + b"}"
    (folder / held.CACHE / "vision.json").write_bytes(large)
    assert list(held.files(folder, {"vision": 0, "targets": 0})) == [
        MetadataFile("targets", signed(3))
    ]


def test_a_device_whose_marks_are_gone_remembers_nothing(folder: Path) -> None:
    (folder / anchor.MARKS_FILE).unlink()
    assert held.memory(folder) == Memory()
