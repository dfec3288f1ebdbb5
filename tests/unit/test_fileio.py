"""The seam to the disk: what is durable when a call returns, and what is left when it fails."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sealane import fileio
from sealane.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer


class Noting(Disk):
    """A real disk that notes what was asked of it; it takes few bytes at once."""

    def __init__(self, full_after: int = 100) -> None:
        self.done: list[str] = []
        self.room = full_after

    def make_folder(self, path: Path, mode: int) -> None:
        self.done.append(f"make {path.name}")
        super().make_folder(path, mode)

    def sync_folder(self, path: Path) -> None:
        self.done.append(f"sync {path.name}/")
        super().sync_folder(path)

    def write(self, descriptor: int, content: ReadableBuffer) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = os.write(descriptor, memoryview(content)[: min(3, self.room)])
        self.room -= taken
        return taken

    def sync(self, descriptor: int) -> None:
        self.done.append("sync")
        super().sync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self.done.append(f"rename {target.name}")
        super().rename(source, target)


def test_a_file_is_replaced_in_the_order_that_a_power_cut_needs(tmp_path: Path) -> None:
    with fileio.using(disk := Noting()):
        fileio.replace(tmp_path / "pointer", b"many bytes")
    assert disk.done == ["sync", "rename pointer", f"sync {tmp_path.name}/"]
    assert (tmp_path / "pointer").read_bytes() == b"many bytes"


def test_a_disk_that_fills_up_leaves_the_old_content_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "pointer").write_bytes(b"old")
    with fileio.using(Noting(full_after=4)), pytest.raises(OSError, match="No space"):
        fileio.replace(tmp_path / "pointer", b"many bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["pointer"]
    assert (tmp_path / "pointer").read_bytes() == b"old"


def test_the_name_of_every_new_folder_is_durable(tmp_path: Path) -> None:
    with fileio.using(disk := Noting()):
        fileio.make_folder(tmp_path / "slots" / "cam")
    top = f"sync {tmp_path.name}/"
    assert disk.done == [
        f"sync {tmp_path.parent.name}/",
        "make slots",
        top,
        "make cam",
        "sync slots/",
    ]
    assert (tmp_path / "slots" / "cam").stat().st_mode & 0o777 == fileio.PRIVATE_FOLDER


def test_a_folder_that_exists_is_made_durable_all_the_same(tmp_path: Path) -> None:
    with fileio.using(disk := Noting()):
        fileio.make_folder(tmp_path)
    assert disk.done == [f"sync {tmp_path.parent.name}/"]


def test_what_was_appended_is_kept_when_the_writer_gives_up(tmp_path: Path) -> None:
    with suppress(RuntimeError), fileio.appending(tmp_path / "partial") as file:
        file.write(b"some")
        raise RuntimeError
    with fileio.appending(tmp_path / "partial") as file:
        file.write(b" more")
    assert (tmp_path / "partial").read_bytes() == b"some more"


def test_a_tree_goes_with_all_its_names_but_not_what_links_point_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"stays")
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(outside)
    fileio.remove_tree(tree)
    fileio.remove_tree(tree)
    assert not tree.exists()
    assert (outside / "file").read_bytes() == b"stays"
    fileio.remove_tree(outside / "file")
    assert list(outside.iterdir()) == []
