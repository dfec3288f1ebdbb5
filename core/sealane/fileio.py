"""The one seam to the disk: every durable write, rename and unlink of the agent goes through here.

A file is replaced by writing a temporary one beside it, fsync, rename, fsync of the folder, so that
after a power cut either the old or the new content is there, never a mixture.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_folder(path: Path) -> None:
    """Create a folder that only its owner reads, with its parents; it may exist."""
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file's content durably."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def appending(path: Path, mode: int = PRIVATE_FILE) -> Iterator[BinaryIO]:
    """Append to a file; what was written is durable when the block has ended without error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode)
    with os.fdopen(descriptor, "ab") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def link(source: Path, target: Path) -> None:
    """Give a file a second name; durable after `sync_folder` of the target's folder."""
    os.link(source, target)


def rename(source: Path, target: Path) -> None:
    """Rename durably within one file system; the source's content must be durable already."""
    source.rename(target)
    sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file durably; it may be gone already."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it; it may be gone already."""
    if path.exists():
        shutil.rmtree(path)
        sync_folder(path.parent)
