"""Copies the manager's databases while they are used, and looks at copies that come back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import NoSpace, Refused

if TYPE_CHECKING:
    from pathlib import Path

_FULL: Final = sqlite3.SQLITE_FULL
_BUSY_TIMEOUT_S: Final = 30.0
_SOUND: Final = "ok"


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment; whoever writes to it meanwhile goes on.

    The copy is one file. Raises Refused for a source that is damaged or not there, NoSpace.
    """
    if not source.is_file():
        raise Refused(
            f"there is no {source}", hint="a manager makes it when it is started the first time"
        )
    try:
        with (
            closing(sqlite3.connect(source, timeout=_BUSY_TIMEOUT_S)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == _FULL:
            raise NoSpace(f"the disk of {target.parent} is full") from error
        raise Refused(f"{source} cannot be copied: {error}") from error
    check_database(target)


def check_database(path: Path) -> None:
    """Raise Refused unless every page and every index of a database is sound."""
    try:
        with closing(sqlite3.connect(path)) as reading:
            found = reading.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != _SOUND:
        raise Refused(f"{path.name} is damaged: {found}", hint="use another copy of it")
