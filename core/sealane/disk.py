"""The operations that change a disk, one method each: what `fileio` is made of.

Tests put another object in this one's place to count the operations, and to let each of them fail.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer


class Database(Protocol):
    """As much of a database connection as a disk needs."""

    def execute(self, statement: str, /) -> object:
        """Run one statement."""
        ...


class Disk:
    """The real disk; every method raises OSError, `execute` what the database raises."""

    def make_folder(self, path: Path, mode: int) -> None:
        """Make one folder; it may exist."""
        path.mkdir(mode, exist_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def open(self, path: Path, flags: int, mode: int) -> int:
        """Open a file for writing; returns its descriptor."""
        return os.open(path, flags, mode)

    def write(self, descriptor: int, content: ReadableBuffer) -> int:
        """Write as much as the disk takes at once; returns how many bytes that were."""
        return os.write(descriptor, content)

    def sync(self, descriptor: int) -> None:
        """Make a file's content durable."""
        os.fsync(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name."""
        os.link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or folder another name, in the place of what had it."""
        source.rename(target)

    def unlink(self, path: Path) -> None:
        """Take a name away; it may be gone already."""
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def execute(self, database: Database, statement: str) -> None:
        """Run a statement by which a database changes its file: COMMIT above all."""
        database.execute(statement)
