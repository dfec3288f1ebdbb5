"""The one seam to the disk: every durable write, rename and unlink of the agent goes through here.

A file is replaced by writing a temporary one beside it, fsync, rename, fsync of the folder, so that
after a power cut either the old or the new content is there, never a mixture.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from sealane.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from sealane.disk import Database

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700

_REAL: Final = Disk()
_disk: ContextVar[Disk] = ContextVar("disk", default=_REAL)


@contextmanager
def using(disk: Disk) -> Iterator[None]:
    """Let another disk do the work within the block, also in the threads that it starts."""
    token = _disk.set(disk)
    try:
        yield
    finally:
        _disk.reset(token)


def make_folder(path: Path) -> None:
    """Create a folder durably that only its owner reads, with its parents; it may exist."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    # Whoever made this one may have died before its name was durable.
    _sync_name(path)
    for folder in reversed(missing):
        _disk.get().make_folder(folder, PRIVATE_FOLDER)
        _sync_name(folder)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _disk.get().sync_folder(path)


def replace(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file's content durably."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        with _writing(temporary, os.O_TRUNC, mode) as file:
            file.write(content)
        rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            _disk.get().unlink(temporary)
        raise


@contextmanager
def appending(path: Path, mode: int = PRIVATE_FILE) -> Iterator[BinaryIO]:
    """Append to a file; what was written is durable when the block has ended without error."""
    with _writing(path, os.O_APPEND, mode) as file:
        yield file


def link(source: Path, target: Path) -> None:
    """Give a file a second name; durable after `sync_folder` of the target's folder."""
    _disk.get().link(source, target)


def rename(source: Path, target: Path) -> None:
    """Rename durably within one file system; the source's content must be durable already."""
    _disk.get().rename(source, target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file durably; it may be gone already."""
    _disk.get().unlink(path)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, or a file; it may be gone already."""
    if path.exists():
        _remove_tree(path)
        sync_folder(path.parent)


def execute(database: Database, statement: str) -> None:
    """Run a statement by which a database changes its file: COMMIT above all."""
    _disk.get().execute(database, statement)


def _sync_name(folder: Path) -> None:
    """Make a folder's own name durable, where its parent is ours to look into."""
    with suppress(PermissionError):
        sync_folder(folder.parent)


def _remove_tree(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        _disk.get().unlink(path)
        return
    for item in sorted(path.iterdir()):
        _remove_tree(item)
    _disk.get().remove_folder(path)


@contextmanager
def _writing(path: Path, how: int, mode: int) -> Iterator[BinaryIO]:
    """A file whose content is durable when the block has ended without error."""
    disk = _disk.get()
    raw = _Raw(disk, disk.open(path, os.O_WRONLY | os.O_CREAT | how, mode))
    with io.BufferedWriter(raw) as file:
        yield file
        file.flush()
        disk.sync(raw.fileno())


class _Raw(io.RawIOBase):
    """A file that is written through a disk."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        super().__init__()
        self._disk, self._descriptor = disk, descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, content: ReadableBuffer, /) -> int:
        return self._disk.write(self._descriptor, content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._descriptor)
