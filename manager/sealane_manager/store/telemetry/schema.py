"""Opens telemetry.db: a file of its own, its tables, and the two functions that SQL merges with.

`PRAGMA user_version` counts the steps that a file has seen; the missing ones run in one
transaction. Rows are small and come in the order of time, so every key begins with the tier and
the time, except where a cohort is read as a series. What a device said in an hour that has ended
lies together: `packing` makes one row of it in `device_block`. Such a row is larger than a page, so
its keys stand apart from it: to compare keys inside of rows would read the rows.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import Refused
from sealane_manager.store.telemetry import bodies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400
TIERS: Final = (MINUTE, HOUR, DAY)
"""To what a row's start is aligned, in seconds; each window lies in exactly one tier."""

BLOCKS: Final = {MINUTE: HOUR, HOUR: DAY}
"""How much time, in seconds, one row of `device_block` holds the windows of, by their tier."""

LONGEST: Final = {MINUTE: 10 * MINUTE, HOUR: 6 * HOUR}
"""The longest window, in seconds, that a tier takes; longer ones go to the next."""

BUSY_TIMEOUT_S: Final = 10.0
"""How long a statement waits for another process (a backup) that holds the file."""

_PRAGMAS: Final = (
    "PRAGMA page_size=8192",
    "PRAGMA auto_vacuum=INCREMENTAL",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-32768",
)

_STEPS: Final = (
    """
    CREATE TABLE device_window (
        tier INTEGER NOT NULL, start INTEGER NOT NULL, device TEXT NOT NULL,
        requests INTEGER NOT NULL, errors INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tier, start, device)
    ) WITHOUT ROWID;
    CREATE TABLE cohort (
        id INTEGER PRIMARY KEY, site TEXT NOT NULL, release TEXT NOT NULL,
        slot TEXT NOT NULL, arm TEXT NOT NULL, UNIQUE (site, release, slot, arm)
    );
    CREATE TABLE cohort_window (
        tier INTEGER NOT NULL, cohort INTEGER NOT NULL REFERENCES cohort, start INTEGER NOT NULL,
        requests INTEGER NOT NULL, errors INTEGER NOT NULL, fallbacks INTEGER NOT NULL,
        late INTEGER NOT NULL, latency BLOB NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (tier, cohort, start)
    ) WITHOUT ROWID;
    CREATE TABLE device_latest (
        device TEXT PRIMARY KEY, start INTEGER NOT NULL, seconds INTEGER NOT NULL,
        received INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
        p99 REAL NOT NULL, cpu REAL, memory REAL, disk REAL, temperature REAL, clock_offset REAL,
        throttled INTEGER, restarts INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE batch_seen (
        device TEXT NOT NULL, boot TEXT NOT NULL, sequence INTEGER NOT NULL,
        received INTEGER NOT NULL, PRIMARY KEY (device, boot)
    ) WITHOUT ROWID;
    CREATE TABLE refusal (
        device TEXT PRIMARY KEY, count INTEGER NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE loss (
        device TEXT PRIMARY KEY, count INTEGER NOT NULL, at INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE device_block (
        id INTEGER PRIMARY KEY, device TEXT NOT NULL, tier INTEGER NOT NULL,
        start INTEGER NOT NULL, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
        body BLOB NOT NULL, UNIQUE (device, tier, start)
    );
    CREATE INDEX device_block_at ON device_block (tier, start, device);
    """,
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection whose transactions begin only where `BEGIN` says; for one thread at a time."""
    connection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
    )
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function("merged_windows", 2, bodies.merged, deterministic=True)
    connection.create_function("merged_times", 2, bodies.merged_times, deterministic=True)
    connection.create_aggregate("all_windows", 1, bodies.AllWindows)  # type: ignore[arg-type]  # typeshed only knows aggregates of numbers
    connection.create_aggregate("all_times", 1, bodies.AllTimes)  # type: ignore[arg-type]  # the same
    return connection


def migrate(path: Path) -> None:
    """Create the file or bring it up to date; raises Refused when it cannot be."""
    try:
        connection = connect(path)
        try:
            with transaction(connection):
                _run_steps(path, connection)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise Refused(
            f"{path} cannot be brought up to date: {error}", hint="put back a backup of it"
        ) from error


def _run_steps(path: Path, connection: sqlite3.Connection) -> None:
    (seen,) = connection.execute("PRAGMA user_version").fetchone()
    if seen > len(_STEPS):
        raise Refused(f"{path} is of a newer manager", hint="use the manager that wrote it")
    for step in _STEPS[seen:]:
        for statement in step.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version={len(_STEPS)}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything or nothing, on disk when the block has ended."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def tier_of(seconds: int) -> int:
    """The tier that takes a window of so many seconds."""
    if seconds <= LONGEST[MINUTE]:
        return MINUTE
    return HOUR if seconds <= LONGEST[HOUR] else DAY
