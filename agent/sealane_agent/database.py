"""How the agent keeps sqlite files: a transaction that has returned survives a power cut."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sealane import fileio

if TYPE_CHECKING:
    from collections.abc import Iterator


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make a file, in WAL mode with synchronous=FULL; raises sqlite3.Error."""
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        fileio.execute(database, "PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def copied(path: Path) -> Iterator[Path]:
    """The file, with what was not yet written into it, in a folder that lasts as long as the block.

    SQLite reads no file in WAL mode whose folder cannot be written. Raises OSError.
    """
    import shutil  # noqa: PLC0415 - a supervisor never needs it
    import tempfile  # noqa: PLC0415 - the same

    with tempfile.TemporaryDirectory(prefix="sealane-") as folder:
        copy = Path(folder) / path.name
        for ending in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
        yield copy


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable when the block has ended without error."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        fileio.execute(database, "COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
