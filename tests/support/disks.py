"""A disk of which tests say which operations fail; the rest it does."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealane.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.disk import Database


@dataclass
class FailingDisk(Disk):
    """Fails with EIO.

    Attributes:
        failing: how often each kind of operation still fails: `sync`, `sync folder`, `unlink`,
            `execute`.
        synced: every folder whose names were made durable.
    """

    failing: dict[str, int] = field(default_factory=dict)
    synced: list[Path] = field(default_factory=list)

    def sync_folder(self, path: Path) -> None:
        self._fail("sync folder")
        super().sync_folder(path)
        self.synced.append(path)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def unlink(self, path: Path) -> None:
        self._fail("unlink")
        super().unlink(path)

    def execute(self, database: Database, statement: str) -> None:
        if self._is_due("execute"):
            raise sqlite3.OperationalError("disk I/O error")
        super().execute(database, statement)

    def _fail(self, kind: str) -> None:
        if self._is_due(kind):
            raise OSError(errno.EIO, "Input/output error")

    def _is_due(self, kind: str) -> bool:
        left = self.failing.get(kind, 0)
        self.failing[kind] = max(0, left - 1)
        return left > 0
