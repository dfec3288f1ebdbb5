"""What a family of models is needed for: who shall serve its releases, and which rollouts go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import distinct, func
from sqlmodel import col, select

from sealane_manager.rollout.types import LIVE, PENDING
from sealane_manager.store.tables.rollouts import DesiredRow, RolloutRow
from sealane_manager.trust.endings import FamilyUse

if TYPE_CHECKING:
    from sealane_manager.store.database import Database


class Usage:
    """Looks through desired state and rollouts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_family(self, family: str) -> FamilyUse:
        """How many devices are assigned a release of it, and its rollouts that have not ended."""
        begins = f"{family}/"
        devices = select(func.count(distinct(col(DesiredRow.device)))).where(
            col(DesiredRow.release).startswith(begins, autoescape=True)
        )
        rollouts = (
            select(RolloutRow.id)
            .where(
                col(RolloutRow.release).startswith(begins, autoescape=True),
                col(RolloutRow.state).in_([str(state) for state in LIVE | PENDING]),
            )
            .order_by(col(RolloutRow.created_at), RolloutRow.id)
        )
        with self._database.read() as session:
            return FamilyUse(session.exec(devices).one(), tuple(session.exec(rollouts)))
