"""The decision log: every change with its cause, written in the transaction of the change.

Its lines are the entries of the audit log: with them grows the Merkle tree of `store.history`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sqlalchemy import event
from sqlmodel import col, select

from sealane_manager.people.redaction import without
from sealane_manager.store import history, rows
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.sight import Sight
from sealane_manager.store.tables.decisions import DecisionRow

if TYPE_CHECKING:
    from collections.abc import Container

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By

_LINES: Final = "decisions"


class Decisions(Sight):
    """Reads the decision log, and writes what is no part of another change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, rollout: str) -> tuple[DecisionRecord, ...]:
        """Every line about one rollout, in order."""
        query = (
            select(DecisionRow).where(DecisionRow.rollout == rollout).order_by(col(DecisionRow.id))
        )
        with self._database.read() as session:
            hidden = self._elsewhere(session)
            return tuple(told(row, hidden) for row in session.exec(query))

    def after(self, rollout: str, line: int, limit: int) -> tuple[tuple[int, DecisionRecord], ...]:
        """The lines about one rollout that follow a line, each with its number."""
        query = (
            select(DecisionRow)
            .where(DecisionRow.rollout == rollout, col(DecisionRow.id) > line)
            .order_by(col(DecisionRow.id))
            .limit(limit)
        )
        with self._database.read() as session:
            hidden = self._elsewhere(session)
            return tuple((row.id or 0, told(row, hidden)) for row in session.exec(query))

    def write(self, line: DecisionRecord) -> None:
        """Add a line about something that no table holds."""
        with self._database.write() as session:
            log(session, line)

    def declare_loss(self, by: By) -> None:
        """The newest lines were lost: begin another epoch of the audit log, with the reason."""
        with self._database.write() as session:
            history.next_epoch(session, by.at)
            log(session, DecisionRecord(by.at, "", by.actor, "declare loss", by.reason))


def told(row: DecisionRow, hidden: Container[str]) -> DecisionRecord:
    """A line as it is told to somebody from whom these devices are hidden, whatever reads it."""
    line = rows.decision(row)
    actor, detail = without(line.actor, hidden), without(line.detail, hidden)
    return replace(line, actor=actor, detail=detail)


def log(session: Session, record: DecisionRecord) -> None:
    """Add one line; it is written when the transaction ends, together with its leaf."""
    lines = session.info.setdefault(_LINES, [])
    if not lines:
        event.listen(session, "before_commit", _seal, once=True)
    lines.append(record)


def _seal(session: Session) -> None:
    lines: list[DecisionRecord] = session.info.pop(_LINES)
    first = history.append(session, [history.entry_of(line) for line in lines])
    session.add_all(
        DecisionRow(
            leaf=leaf,
            at=line.at,
            rollout=line.rollout,
            actor=line.actor,
            action=line.action,
            detail=line.detail,
            evidence=line.evidence,
        )
        for leaf, line in enumerate(lines, first)
    )
