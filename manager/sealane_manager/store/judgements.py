"""What gates said, with all that they saw, so that a decision can be explained and made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import col, select

from sealane_manager.gate.record import digest, record
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord, JudgementRecord
from sealane_manager.store.tables.rollouts import JudgementRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from sealane_manager.rollout.types import Judged, Rollout
    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By


class Judgements:
    """Reads what gates said."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, rollout: str) -> tuple[JudgementRecord, ...]:
        """Everything that was said about one rollout, in order."""
        query = (
            select(JudgementRow)
            .where(JudgementRow.rollout == rollout)
            .order_by(col(JudgementRow.id))
        )
        with self._database.read() as session:
            return tuple(
                JudgementRecord(row.at, row.stage, row.verdict, row.reason, row.inputs)
                for row in session.exec(query)
            )

    def last(self, rollout: str) -> JudgementRecord | None:
        """What was said last about one rollout, or None."""
        query = (
            select(JudgementRow)
            .where(JudgementRow.rollout == rollout)
            .order_by(col(JudgementRow.id).desc())
            .limit(1)
        )
        with self._database.read() as session:
            row = session.exec(query).first()
            if not row:
                return None
            return JudgementRecord(row.at, row.stage, row.verdict, row.reason, row.inputs)


def keep(session: Session, rollout: Rollout, judged: Judged, by: By) -> None:
    """Add what was said of a rollout as it stood, and name the record in the log."""
    inputs = record(judged.case)
    session.add(
        JudgementRow(
            rollout=rollout.id,
            at=by.at,
            stage=rollout.stage,
            verdict=judged.verdict,
            reason=judged.reason,
            inputs=inputs,
        )
    )
    detail = f"stage {rollout.stage + 1}: {judged.verdict}: {judged.reason}"
    log(session, DecisionRecord(by.at, rollout.id, by.actor, "judge", detail, digest(inputs)))
