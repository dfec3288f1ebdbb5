"""What happened on a device: lines in the journal, written in the transaction of what they tell.

The manager's receipts go away once it has them; these lines stay, the newest ones of them.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

TABLE: Final = (
    "number INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, slot TEXT NOT NULL, "
    "event TEXT NOT NULL, release TEXT NOT NULL, rollout TEXT NOT NULL, reason TEXT NOT NULL"
)
LINES_KEPT: Final = 2000
_REASON_CHARS: Final = 500


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        at: trusted time.
        slot: empty when it concerns the whole device.
        event: a state of the agent's state machine, `held`, or `hold ended`.
        release, rollout: of the attempt; empty without one.
        reason: why, in the words that people were given.
    """

    at: datetime
    slot: str
    event: str
    release: str = ""
    rollout: str = ""
    reason: str = ""


def add(database: sqlite3.Connection, line: Line) -> None:
    """Keep a line, and of them all only the newest; one that says nothing new is left out."""
    at, *said = astuple(line)
    said[-1] = said[-1][:_REASON_CHARS]
    last = database.execute(
        "SELECT slot, event, release, rollout, reason FROM history WHERE slot = ? "
        "ORDER BY number DESC LIMIT 1",
        (line.slot,),
    ).fetchone()
    if last == tuple(said):
        return
    added = database.execute(
        "INSERT INTO history (at, slot, event, release, rollout, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (at.isoformat(), *said),
    )
    newest = added.lastrowid or 0
    database.execute("DELETE FROM history WHERE number <= ?", (newest - LINES_KEPT,))


def read(database: sqlite3.Connection, slot: str, most: int) -> tuple[Line, ...]:
    """The newest lines, oldest first: of one slot and the whole device, or of all slots."""
    rows = database.execute(
        "SELECT at, slot, event, release, rollout, reason FROM history "
        "WHERE ? IN ('', slot) OR slot = '' ORDER BY number DESC LIMIT ?",
        (slot, most),
    ).fetchall()
    return tuple(Line(datetime.fromisoformat(at), *said) for at, *said in reversed(rows))
