"""The decision log: every change with its cause, written in the transaction of the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from sealane_manager.store import rows
from sealane_manager.store.tables import DecisionRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import DecisionRecord


class Decisions:
    """Reads the decision log, and adds what no other table shows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, rollout: str) -> tuple[DecisionRecord, ...]:
        """Every line about one rollout, in order."""
        query = (
            select(DecisionRow).where(DecisionRow.rollout == rollout).order_by(col(DecisionRow.id))
        )
        with self._database.read() as session:
            return tuple(rows.decision(row) for row in session.exec(query))

    def note(self, record: DecisionRecord) -> None:
        """Write a line about something that is kept elsewhere: before it happens."""
        with self._database.write() as session:
            log(session, record)


def log(session: Session, record: DecisionRecord) -> None:
    """Add one line."""
    session.add(
        DecisionRow(
            at=record.at,
            rollout=record.rollout,
            actor=record.actor,
            action=record.action,
            detail=record.detail,
        )
    )
