"""What becomes of a database that is older than the fleet: it directs nobody back.

A device that has seen a newer director document than this database remembers was led by its later
self. What such a device serves is taken up as what it shall serve; rollouts wait for a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, update
from sqlmodel import select

from sealane_manager.rollout.types import RolloutState
from sealane_manager.store import history
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables import JoinTokenRow, LoginRow, RolloutRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.store.database import Database

ACTOR: Final = "restore"


class Restoring:
    """Brings a database from a backup and the fleet together."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(self, why: str, now: datetime) -> tuple[str, ...]:
        """Let nothing go on by itself that a backup brought back; returns the paused rollouts.

        Join tokens end, because they may be used up; sessions of people end, because they may have
        been ended. The audit log begins another epoch: what came after the backup is lost.
        """
        with self._database.write() as session:
            running = select(RolloutRow).where(RolloutRow.state == str(RolloutState.RUNNING))
            paused = session.exec(running.order_by(RolloutRow.id)).all()
            for row in paused:
                pause(session, row, why, now)
            session.connection().execute(update(JoinTokenRow).values(uses_left=0))
            session.connection().execute(delete(LoginRow))
            history.next_epoch(session, now)
            log(session, DecisionRecord(now, "", ACTOR, "restore", why))
            return tuple(row.id for row in paused)


def pause(session: Session, row: RolloutRow, why: str, now: datetime) -> None:
    """Let a rollout wait until a person has looked."""
    row.state, row.reason, row.phase_since = RolloutState.PAUSED, why, now
    session.add(row)
    log(session, DecisionRecord(now, row.id, ACTOR, str(RolloutState.PAUSED), why))
