"""The one journal of an agent: what each slot is doing, what it never tries again, what it says.

SQLite in WAL mode with synchronous=FULL: a transaction that has returned survives a power cut. An
event enters the outbox in the transaction of the change that it reports, so neither exists alone.
"""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Final

from sealane.errors import SealaneError
from sealane.fleet import Event
from sealane.holds import Hold
from sealane.limits import EVENTS_PER_MESSAGE, OUTBOX_EVENTS
from sealane.names import Digest
from sealane.trust.documents import Quarantined

from sealane_agent.database import copied, open_database, transaction
from sealane_agent.errors import DiskTrouble, JournalDamaged
from sealane_agent.slot import history
from sealane_agent.slot.encoding import decode_attempt, decode_body, encode_attempt, encode_body
from sealane_agent.slot.state import SlotRecord, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from sealane.fleet import SlotReport
    from sealane.names import SlotName
    from sealane.receipt import SignedReceipt

    from sealane_agent.slot.state import Attempt

_HINT: Final = "see that its disk has room and can be written; nothing is lost"

_HOLD: Final = (
    "id TEXT PRIMARY KEY, slot TEXT NOT NULL, owner TEXT NOT NULL, reason TEXT NOT NULL, "
    "until TEXT NOT NULL"
)

_TABLES: Final = {
    "slot": "name TEXT PRIMARY KEY, attempt TEXT, committed TEXT",
    "quarantine": "digest TEXT PRIMARY KEY, reason TEXT NOT NULL, at TEXT NOT NULL",
    "outbox": "sequence INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, body TEXT NOT NULL",
    "hold": _HOLD,
    "ordered_hold": _HOLD,
    "ordered": "digest TEXT PRIMARY KEY, reason TEXT NOT NULL, stops INTEGER NOT NULL",
    "kept_before": "slot TEXT PRIMARY KEY, attempt TEXT NOT NULL",
    "counter": "name TEXT PRIMARY KEY, value INTEGER NOT NULL",
    "history": history.TABLE,
}

_KEEP_BEFORE: Final = """
INSERT INTO kept_before
SELECT name, committed FROM slot
WHERE name = :slot AND committed IS NOT NULL
AND json_extract(committed, '$.manifest') != :digest
AND json_extract(committed, '$.manifest') NOT IN (SELECT digest FROM ordered)
AND json_extract(committed, '$.manifest') NOT IN (SELECT digest FROM quarantine)
ON CONFLICT (slot) DO UPDATE SET attempt = excluded.attempt
"""
"""What was kept until now is what the slot can go back to, unless it is in quarantine."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of a slot, with everything that must be durable together.

    Attributes:
        slot, attempt: the slot's attempt from now on; None when it was given up.
        at: trusted time of the change.
        report: what the manager is told; None tells it nothing.
        quarantine: why the attempt's digest is put away; empty leaves it.
        receipt: makes the signed receipt from its sequence number; None without one.
        to_before: what was committed before is the last known good one again.
    """

    slot: SlotName
    attempt: Attempt | None
    at: datetime
    report: SlotReport | None
    quarantine: str = ""
    receipt: Callable[[int], SignedReceipt] | None = None
    to_before: bool = False


class Journal:
    """The journal file; every method blocks on the disk and may be called from any thread.

    Opening it raises JournalDamaged; it and every method raise DiskTrouble.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        self._database = _opened(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def slots(self) -> tuple[SlotName, ...]:
        """Every slot that was ever recorded."""
        with self._reading():
            rows = self._database.execute("SELECT name FROM slot ORDER BY name").fetchall()
        return tuple(name for (name,) in rows)

    def read(self, slot: SlotName) -> SlotRecord:
        """What is known of a slot."""
        with self._reading():
            row = self._database.execute(
                "SELECT attempt, committed FROM slot WHERE name = ?", (slot,)
            ).fetchone()
            before = self._database.execute(
                "SELECT attempt FROM kept_before WHERE slot = ?", (slot,)
            ).fetchone()
            away = self._database.execute("SELECT digest, reason FROM quarantine").fetchall()
            ordered = self._ordered()
        attempt, committed = row or (None, None)
        return SlotRecord(
            slot,
            _attempt(slot, attempt),
            _attempt(slot, committed),
            _attempt(slot, before[0] if before else None),
            {Digest(digest): reason for digest, reason in away},
            {each.manifest: each for each in ordered},
        )

    def obey(self, quarantined: tuple[Quarantined, ...]) -> bool:
        """Keep which releases are in quarantine by order, in place of those before.

        Whether that is something new.
        """
        with self._reading():
            known = self._ordered()
        if {*known} == {*quarantined}:
            return False
        with self._transaction() as database:
            database.execute("DELETE FROM ordered")
            database.executemany(
                "INSERT INTO ordered VALUES (?, ?, ?)",
                [(each.manifest, each.reason, each.stops) for each in quarantined],
            )
        return True

    def write(self, entry: Entry) -> None:
        """Record one change."""
        with self._transaction() as database:
            self._set_attempt(database, entry)
            if entry.to_before:
                _go_back(database, entry.slot)
            if entry.report is not None:
                self._append(database, entry.at, entry.report)
                history.add(database, _told(entry.at, entry.report))
            if entry.attempt is not None and entry.quarantine:
                database.execute(
                    "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?)",
                    (entry.attempt.manifest, entry.quarantine, entry.at.isoformat()),
                )
            if entry.receipt is not None:
                sequence = self._count(database, "receipt")
                self._append(database, entry.at, entry.receipt(sequence))

    def events(self, after: int) -> tuple[Event, ...]:
        """The oldest events after a sequence number, as many as fit in one message."""
        with self._reading():
            rows = self._database.execute(
                "SELECT sequence, at, body FROM outbox "
                "WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, EVENTS_PER_MESSAGE),
            ).fetchall()
        return tuple(
            Event(sequence, datetime.fromisoformat(at), decode_body(body))
            for sequence, at, body in rows
        )

    def forget(self, sequence: int) -> None:
        """Forget events up to this one: the manager has stored them."""
        with self._transaction() as database:
            database.execute("DELETE FROM outbox WHERE sequence <= ?", (sequence,))

    def continue_after(self, sequence: int) -> None:
        """Number events above what the manager has: this journal may be younger than its memory."""
        with self._transaction() as database:
            row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
            if (row.fetchone() or (0,))[0] >= sequence:
                return
            database.execute("UPDATE outbox SET sequence = sequence + ?", (sequence,))
            database.execute("DELETE FROM sqlite_sequence WHERE name = 'outbox'")
            database.execute(
                "INSERT INTO sqlite_sequence SELECT 'outbox', "
                "coalesce((SELECT max(sequence) FROM outbox), ?)",
                (sequence,),
            )

    def holds(self) -> tuple[Hold, ...]:
        """Every hold of the line that was not released, ended ones among them."""
        with self._reading():
            return _holds(self._database.execute("SELECT * FROM hold ORDER BY id"))

    def ordered_holds(self) -> tuple[Hold, ...]:
        """Every hold that the manager ordered, ended ones among them."""
        with self._reading():
            return _holds(self._database.execute("SELECT * FROM ordered_hold ORDER BY id"))

    def order_holds(self, holds: tuple[Hold, ...]) -> None:
        """Keep the manager's holds, in place of those before."""
        with self._transaction() as database:
            database.execute("DELETE FROM ordered_hold")
            rows = [_hold_row(each) for each in holds]
            database.executemany("INSERT INTO ordered_hold VALUES (?, ?, ?, ?, ?)", rows)

    def hold(self, hold: Hold, now: datetime) -> None:
        """Keep a hold, and forget those that have ended."""
        with self._transaction() as database:
            ended = [
                (old,)
                for old, until in database.execute("SELECT id, until FROM hold")
                if datetime.fromisoformat(until) <= now
            ]
            database.executemany("DELETE FROM hold WHERE id = ?", ended)
            database.execute("INSERT INTO hold VALUES (?, ?, ?, ?, ?)", _hold_row(hold))
            said = f"{hold.owner} until {hold.until.isoformat()}: {hold.reason}"
            history.add(database, history.Line(now, hold.slot, "held", reason=said))

    def release(self, name: str, now: datetime) -> None:
        """Forget a hold."""
        with self._transaction() as database:
            row = database.execute("SELECT slot, reason FROM hold WHERE id = ?", (name,)).fetchone()
            database.execute("DELETE FROM hold WHERE id = ?", (name,))
            if row is not None:
                history.add(database, history.Line(now, row[0], "hold ended", reason=row[1]))

    def history(self, slot: str = "", most: int = history.LINES_KEPT) -> tuple[history.Line, ...]:
        """What happened, oldest first: in one slot, or everywhere."""
        with self._reading():
            return history.read(self._database, slot, most)

    def pending(self) -> int:
        """How many events the manager has not stored yet."""
        with self._reading():
            return int(self._database.execute("SELECT count(*) FROM outbox").fetchone()[0])

    def _ordered(self) -> tuple[Quarantined, ...]:
        rows = self._database.execute("SELECT digest, reason, stops FROM ordered").fetchall()
        return tuple(Quarantined(Digest(digest), why, bool(stops)) for digest, why, stops in rows)

    @staticmethod
    def _set_attempt(database: sqlite3.Connection, entry: Entry) -> None:
        text = encode_attempt(entry.attempt) if entry.attempt else None
        database.execute(
            "INSERT INTO slot (name, attempt) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET attempt = excluded.attempt",
            (entry.slot, text),
        )
        if entry.attempt is not None and entry.attempt.state is State.COMMITTED:
            database.execute(_KEEP_BEFORE, {"slot": entry.slot, "digest": entry.attempt.manifest})
            database.execute("UPDATE slot SET committed = ? WHERE name = ?", (text, entry.slot))

    @staticmethod
    def _append(
        database: sqlite3.Connection, at: datetime, body: SlotReport | SignedReceipt
    ) -> None:
        added = database.execute(
            "INSERT INTO outbox (at, body) VALUES (?, ?)", (at.isoformat(), encode_body(body))
        )
        oldest_kept = (added.lastrowid or 0) - OUTBOX_EVENTS
        database.execute("DELETE FROM outbox WHERE sequence <= ?", (oldest_kept,))

    @staticmethod
    def _count(database: sqlite3.Connection, name: str) -> int:
        row = database.execute(
            "INSERT INTO counter VALUES (?, 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading(), transaction(self._database) as database:
            yield database

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise DiskTrouble(
                    f"the journal cannot be read or written: {error}",
                    hint=_HINT,
                ) from error


def _go_back(database: sqlite3.Connection, slot: SlotName) -> None:
    database.execute(
        "UPDATE slot SET committed = kept_before.attempt FROM kept_before "
        "WHERE kept_before.slot = slot.name AND slot.name = ?",
        (slot,),
    )
    database.execute("DELETE FROM kept_before WHERE slot = ?", (slot,))


def _told(at: datetime, report: SlotReport) -> history.Line:
    reason = report.failure.message if report.failure else ""
    return history.Line(
        at, report.slot, report.state, report.attempt_release, report.rollout, reason
    )


def _holds(rows: Iterable[tuple[str, str, str, str, str]]) -> tuple[Hold, ...]:
    return tuple(
        Hold(name, slot, owner, reason, datetime.fromisoformat(until))
        for name, slot, owner, reason, until in rows
    )


def _hold_row(hold: Hold) -> tuple[str, str, str, str, str]:
    return hold.id, hold.slot, hold.owner, hold.reason, hold.until.isoformat()


@contextmanager
def looked_into(path: Path) -> Iterator[Journal]:
    """A journal for who only reads; where its disk cannot be written, a copy of it elsewhere."""
    try:
        found = Journal(path)
    except DiskTrouble:
        with copied(path) as copy, closing(Journal(copy)) as journal:
            yield journal
        return
    with closing(found) as journal:
        yield journal


def _opened(path: Path) -> sqlite3.Connection:
    try:
        with ExitStack() as undo:
            database = open_database(path)
            undo.callback(database.close)
            with transaction(database):
                for name, columns in _TABLES.items():
                    database.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}) STRICT")
            undo.pop_all()
    except sqlite3.OperationalError as error:
        raise DiskTrouble(
            f"the journal {path} cannot be opened: {error}",
            hint=_HINT,
        ) from error
    except sqlite3.DatabaseError as error:
        raise JournalDamaged(
            f"the journal {path} cannot be read: {error}",
            hint="move it away and start again: the slots' pointers keep the models serving",
        ) from error
    return database


def _attempt(slot: SlotName, text: str | None) -> Attempt | None:
    if text is None:
        return None
    try:
        return decode_attempt(text)
    except (ValueError, KeyError, TypeError, SealaneError) as error:
        raise JournalDamaged(f"the journal's record of slot {slot} is damaged: {error}") from error
