from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sealane.names import SlotName
from sealane_agent.layout import ACTIVE, LKG, Pointer, StateFolder
from sealane_agent.serving.app import read_pointer
from support.fake_workers import pointer

if TYPE_CHECKING:
    from pathlib import Path

CAM = SlotName("cam")


def folder_with(root: Path, **pointers: bytes) -> StateFolder:
    folder = StateFolder(root)
    folder.pointer(CAM, LKG).parent.mkdir(parents=True)
    for which, content in pointers.items():
        folder.pointer(CAM, which).write_bytes(content)
    return folder


def test_a_pointer_survives_its_file() -> None:
    assert Pointer.decode(pointer(3).encode()) == pointer(3)


def test_the_last_known_good_model_comes_before_the_active_one(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, active=pointer(2).encode(), lkg=pointer(1).encode())
    assert read_pointer(folder, CAM) == pointer(1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"release":"x","manifest":"y","variant":"z"}']
)
def test_a_damaged_pointer_leaves_the_other_one(tmp_path: Path, content: bytes) -> None:
    folder = folder_with(tmp_path, active=pointer(2).encode(), lkg=content)
    assert read_pointer(folder, CAM) == pointer(2)
    folder.pointer(CAM, ACTIVE).unlink()
    assert read_pointer(folder, CAM) is None


def test_a_stray_file_beside_the_slots_is_no_slot(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, active=pointer(2).encode())
    (tmp_path / "slots" / ".DS_Store").write_bytes(b"")
    (tmp_path / "slots" / "lost").write_bytes(b"")
    assert folder.slots() == (CAM,)
    assert StateFolder(tmp_path / "nothing").slots() == ()
