"""Keeps windows on disk until the manager has stored them: merged with age, never dropped.

SQLite in a file of its own, in WAL mode with synchronous=FULL: a batch that was sent must not come
back as loose windows after a power cut, or it would be counted twice under another name. A
transaction every ten seconds costs little. Windows leave the table when they are packed into a
batch, so nothing ever merges what the manager may have stored already.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Final

from sealane import fileio
from sealane.errors import TelemetryError
from sealane.limits import KIB, MIB, WINDOWS_PER_BATCH
from sealane.telemetry.codec import decode_windows, encode_windows
from sealane.telemetry.types import TelemetryBatch

from sealane_agent.database import open_database, transaction
from sealane_agent.errors import SpoolDamaged
from sealane_agent.telemetry.tiers import Row, groups
from sealane_agent.telemetry.windows import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from sealane.telemetry.types import TelemetryAck, Window

SPOOL_BYTES: Final = 4 * MIB
"""Pages in use: half a year offline of one model; then the two oldest windows are merged."""

BATCH_BYTES: Final = 16 * KIB
"""Windows of one batch, unless a single one is larger: a second of the slowest uplink that counts.
"""

_WAL_PAGES: Final = 64
_NAME_CHARS: Final = 32
_TABLES: Final = {
    "window": "number INTEGER PRIMARY KEY, start INTEGER NOT NULL, stop INTEGER NOT NULL, "
    "body BLOB NOT NULL",
    "batch": "number INTEGER PRIMARY KEY, boot TEXT NOT NULL, sequence INTEGER NOT NULL, "
    "body BLOB NOT NULL",
    "fact": "name TEXT PRIMARY KEY, value TEXT NOT NULL",
}
_INDEX: Final = "CREATE INDEX IF NOT EXISTS window_start ON window (start, stop)"


class Spool:
    """The spool file; every method blocks on the disk and may be called from any thread.

    `boot` is the kernel's name for this boot. Batches are named by it and by this file's own
    identity: a file that was lost does not make two batches of one name.
    """

    def __init__(self, path: Path, boot: str, most_bytes: int = SPOOL_BYTES) -> None:
        self._lock = Lock()
        self._most_bytes = most_bytes
        try:
            with ExitStack() as undo:
                self._database = open_database(path)
                undo.callback(self._database.close)
                self._database.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
                self._begin_boot(boot)
                undo.pop_all()
        except sqlite3.OperationalError:
            raise  # a full disk, not a damaged file
        except (sqlite3.DatabaseError, ValueError) as error:
            raise SpoolDamaged(
                f"the telemetry spool {path} cannot be read: {error}",
                hint="it is moved away; what it held is lost, what serves is not touched",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    @property
    def stored(self) -> str:
        """The name of the endpoint's windows that were put in last."""
        with self._lock:
            return self._fact("stored")

    @property
    def bytes_used(self) -> int:
        """Of the file's pages, those that hold something."""
        with self._lock:
            return self._used()

    @property
    def lost(self) -> int:
        """Windows damaged on the disk, or without room, that no window has told of yet."""
        with self._lock:
            return int(self._fact("lost") or 0)

    def lose_file(self) -> None:
        """Count what a damaged file held, of which nobody knows how much it was, as one window."""
        with self._transaction():
            self._lose()

    def put_measured(self, window: Window) -> None:
        """Keep a window of the machine; it tells how many windows were lost since the last one."""
        with self._transaction():
            if window.host is not None and (lost := int(self._fact("lost") or 0)):
                window = replace(window, host=replace(window.host, lost=lost))
                self._set_fact("lost", "0")
            self._put(window)
            self._make_room()

    def put(self, windows: Iterable[Window], stored: str = "") -> None:
        """Keep windows; `stored` names them when they came from the endpoint."""
        with self._transaction():
            for window in windows:
                self._put(window)
            if stored:
                self._set_fact("stored", stored)
            self._make_room()

    def compact(self, now: int) -> None:
        """Merge windows by their age; `now` is in seconds since 1970."""
        with self._transaction():
            for group in groups(self._rows(), now):
                self._merge(group)

    def next_batch(self) -> TelemetryBatch | None:
        """The oldest batch that is not acknowledged, else a new one of the newest windows."""
        with self._transaction():
            row = self._database.execute(
                "SELECT boot, sequence, body FROM batch ORDER BY number LIMIT 1"
            ).fetchone()
            return self._checked(TelemetryBatch(*row)) if row else self._pack()

    def acknowledge(self, ack: TelemetryAck) -> None:
        """Forget what the manager has stored."""
        with self._transaction() as database:
            database.execute(
                "DELETE FROM batch WHERE boot = ? AND sequence <= ?", (ack.boot, ack.sequence)
            )

    def pending(self) -> int:
        """How many windows the manager has not stored yet, those in batches not counted."""
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM window").fetchone()[0])

    # Windows

    def _put(self, window: Window) -> None:
        """Windows of the same time become one: parts of the same minute come apart."""
        same = self._database.execute(
            "SELECT number, start, stop FROM window WHERE start = ? AND stop = ?",
            (window.start, window.end),
        )
        rows = [Row(*row) for row in same.fetchall()]
        self._replace(rows, joined([*self._read(rows), window]))

    def _rows(self) -> list[Row]:
        found = self._database.execute("SELECT number, start, stop FROM window ORDER BY start")
        return [Row(*row) for row in found.fetchall()]

    def _read(self, rows: Iterable[Row]) -> Iterator[Window]:
        """The windows in these rows; a damaged one is gone."""
        for row in rows:
            (body,) = self._database.execute(
                "SELECT body FROM window WHERE number = ?", (row.number,)
            ).fetchone()
            try:
                yield from decode_windows(body)
            except TelemetryError:
                self._lose()

    def _replace(self, rows: Iterable[Row], windows: Iterable[Window]) -> None:
        self._database.executemany(
            "DELETE FROM window WHERE number = ?", [(row.number,) for row in rows]
        )
        self._database.executemany(
            "INSERT INTO window (start, stop, body) VALUES (?, ?, ?)",
            [(window.start, window.end, encode_windows((window,))) for window in windows],
        )

    def _merge(self, rows: Sequence[Row]) -> bool:
        """Make fewer rows of these, when they fit."""
        windows = joined(self._read(rows))
        if len(windows) < len(rows):
            self._replace(rows, windows)
        return len(windows) < len(rows)

    def _make_room(self) -> None:
        while self._used() > self._most_bytes:
            rows = self._rows()
            if not any(self._merge(pair) for pair in pairwise(rows)):
                if not rows:
                    return
                self._lose()
                self._replace(rows[:1], ())

    def _used(self) -> int:
        pages, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    # Batches

    def _pack(self) -> TelemetryBatch | None:
        rows: list[Row] = []
        windows: list[Window] = []
        size = 0
        for row in reversed(self._rows()):
            found = list(self._read([row]))
            size += len(encode_windows(found))
            if rows and (size > BATCH_BYTES or len(windows) >= WINDOWS_PER_BATCH):
                break
            rows.append(row)
            windows += found
        if not windows:
            self._replace(rows, ())
            return None
        sequence = int(self._fact("sequence")) + 1
        batch = TelemetryBatch(self._fact("boot"), sequence, encode_windows(windows))
        self._replace(rows, ())
        self._set_fact("sequence", str(sequence))
        self._database.execute(
            "INSERT INTO batch (boot, sequence, body) VALUES (?, ?, ?)",
            (batch.boot, batch.sequence, batch.body),
        )
        return batch

    def _checked(self, batch: TelemetryBatch) -> TelemetryBatch:
        """The batch; a damaged one is empty, so that those behind it can be acknowledged."""
        try:
            decode_windows(batch.body)
        except TelemetryError:
            self._lose()
            return TelemetryBatch(batch.boot, batch.sequence, encode_windows(()))
        return batch

    # Facts

    def _begin_boot(self, boot: str) -> None:
        with self._transaction() as database:
            for name, columns in _TABLES.items():
                database.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) STRICT")
            database.execute(_INDEX)
            identity = self._fact("identity") or secrets.token_hex(_NAME_CHARS // 2)
            name = sha256(f"{identity} {boot}".encode()).hexdigest()[:_NAME_CHARS]
            self._set_fact("identity", identity)
            if self._fact("boot") != name:
                self._set_fact("boot", name)
                self._set_fact("sequence", "0")

    def _fact(self, name: str) -> str:
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _lose(self) -> None:
        self._set_fact("lost", str(int(self._fact("lost") or 0) + 1))

    def _set_fact(self, name: str, value: str) -> None:
        self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, transaction(self._database) as database:
            yield database


def open_spool(path: Path, boot: str) -> tuple[Spool, SpoolDamaged | None]:
    """The spool; a damaged file is moved aside for a new one, and the error says so.

    Raises sqlite3.Error or OSError when the disk does not let it be opened.
    """
    try:
        return Spool(path, boot), None
    except SpoolDamaged as error:
        for suffix in ("-wal", "-shm"):
            fileio.remove(path.with_name(path.name + suffix))
        fileio.rename(path, path.with_name(path.name + ".damaged"))
        spool = Spool(path, boot)
        spool.lose_file()
        return spool, error
