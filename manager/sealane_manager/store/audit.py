"""Reads the decision log in parts, newest first, by what its lines say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, or_, select
from sqlmodel import col

from sealane_manager.store.decisions import told
from sealane_manager.store.sight import Sight
from sealane_manager.store.summaries import AuditLine
from sealane_manager.store.tables.decisions import DecisionRow

if TYPE_CHECKING:
    from collections.abc import Container

    from sealane.names import DeviceId
    from sqlalchemy import ColumnElement, Select

    from sealane_manager.store.database import Database
    from sealane_manager.store.summaries import AuditFilter

WORDS: Final = 200
"""Actors or actions offered in a filter."""

_AFTER: Final = (" ", ",", ":", ";", ")", ". ")
"""What follows a device's name in a line; a longer name goes on with something else."""


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
        return self._told(query)

    def about(self, device: DeviceId, size: int) -> tuple[AuditLine, ...]:
        """The newest lines that a device has written or that name it, at most `size`."""
        newest = col(DecisionRow.leaf).desc()
        return self._told(select(DecisionRow).where(_about(device)).order_by(newest).limit(size))

    def _told(self, query: Select[DecisionRow]) -> tuple[AuditLine, ...]:
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


def _about(device: DeviceId) -> ColumnElement[bool]:
    """`edge-1` is named by `device edge-1: …`, not by `device edge-10: …`."""
    named, detail = f"device {device}", col(DecisionRow.detail)
    # Few lines hold so much of a name: only of those it is asked where it ends.
    begins = detail.contains(named, autoescape=True)
    ends = detail.endswith(named, autoescape=True)
    goes_on = (detail.contains(f"{named}{mark}", autoescape=True) for mark in _AFTER)
    return or_(col(DecisionRow.actor) == named, and_(begins, or_(ends, *goes_on)))


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
