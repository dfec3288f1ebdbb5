"""Reads the decision log in parts, newest first, by what its lines say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import or_, select
from sqlmodel import col

from sealane_manager.store.decisions import told
from sealane_manager.store.sight import Sight
from sealane_manager.store.summaries import AuditLine
from sealane_manager.store.tables import DecisionRow

if TYPE_CHECKING:
    from collections.abc import Container

    from sealane_manager.store.database import Database
    from sealane_manager.store.summaries import AuditFilter

WORDS: Final = 200
"""Actors or actions offered in a filter."""


class Audit(Sight):
    """Pages of the decision log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def lines(self, wanted: AuditFilter) -> tuple[AuditLine, ...]:
        """The newest lines that match, at most `size`; devices elsewhere are not named."""
        query = select(DecisionRow).order_by(col(DecisionRow.leaf).desc()).limit(wanted.size)
        if wanted.before:
            query = query.where(col(DecisionRow.leaf) < wanted.before - 1)
        for column, value in (
            (DecisionRow.actor, wanted.actor),
            (DecisionRow.action, wanted.action),
            (DecisionRow.rollout, wanted.rollout),
        ):
            if value:
                query = query.where(col(column) == value)
        if wanted.text:
            detail = col(DecisionRow.detail).icontains(wanted.text, autoescape=True)
            actor = col(DecisionRow.actor).icontains(wanted.text, autoescape=True)
            query = query.where(or_(detail, actor))
        with self._database.read() as session:
            hidden = self._elsewhere(session)
            return tuple(_line(row, hidden) for row in session.execute(query).scalars())

    def who_started(self, rollout: str) -> str:
        """Who wrote the first line about a rollout; empty when there is none."""
        query = (
            select(DecisionRow)
            .where(col(DecisionRow.rollout) == rollout)
            .order_by(col(DecisionRow.id))
            .limit(1)
        )
        with self._database.read() as session:
            first = session.execute(query).scalars().first()
            return told(first, self._elsewhere(session)).actor if first else ""

    def actions(self) -> tuple[str, ...]:
        """Every kind of action in the log."""
        query = select(col(DecisionRow.action)).distinct().order_by("action").limit(WORDS)
        with self._database.read() as session:
            return tuple(session.execute(query).scalars())


def _line(row: DecisionRow, hidden: Container[str]) -> AuditLine:
    line = told(row, hidden)
    return AuditLine(
        number=row.leaf + 1,
        at=line.at,
        rollout=line.rollout,
        actor=line.actor,
        action=line.action,
        detail=line.detail,
        evidence=line.evidence,
    )
