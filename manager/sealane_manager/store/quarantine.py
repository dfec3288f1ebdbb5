"""The kill switch: a release leaves every device, and no rollout brings it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.names import DeviceId, SlotName
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.moves import recall
from sealane_manager.rollout.types import LIVE, PENDING
from sealane_manager.store.consequences import Change, carry_out
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import Wanted, assign, bump
from sealane_manager.store.orders import holders
from sealane_manager.store.records import DecisionRecord, QuarantineRecord, ReleaseSource
from sealane_manager.store.replaced import replaced
from sealane_manager.store.tables.rollouts import DesiredRow, QuarantineRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.members import Members
    from sealane_manager.store.records import By


class Quarantine:
    """Keeps which releases shall serve nowhere, and takes them off every device at once."""

    def __init__(self, database: Database, members: Members) -> None:
        self._database, self._members = database, members

    def list(self) -> tuple[QuarantineRecord, ...]:
        """Every release in quarantine, the newest first."""
        query = select(QuarantineRow).order_by(col(QuarantineRow.at).desc())
        with self._database.read() as session:
            return tuple(
                QuarantineRecord(
                    row.release, row.manifest, row.at, row.actor, row.reason, row.stops
                )
                for row in session.exec(query)
            )

    def put(self, source: ReleaseSource, by: By, *, stops: bool = False) -> Mapping[DeviceId, int]:
        """Take a release off every device, in one transaction; returns who must hear of it.

        `stops`: slots in which nothing else can serve are emptied. Its rollouts are taken back or
        ended, and each other device that it is assigned to gets back what the last rollout
        replaced there. Raises Refused when it is in quarantine already.
        """
        with self._database.write() as session:
            if session.get(QuarantineRow, source.manifest):
                raise Refused(f"{source.name} is in quarantine already")
            session.add(
                QuarantineRow(
                    manifest=source.manifest,
                    release=str(source.name),
                    at=by.at,
                    actor=by.actor,
                    reason=by.reason,
                    stops=stops,
                )
            )
            session.flush()
            concerned = self._end_rollouts(session, source, by)
            concerned |= assign(session, _taken_off(session, source))
            concerned |= holders(session, str(source.name), source.manifest)
            also = ", also where nothing else can serve" if stops else ""
            detail = f"{source.name} from {len(concerned)} devices{also}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "quarantine", detail))
            return bump(session, concerned)

    def lift(self, release: str, by: By) -> Mapping[DeviceId, int]:
        """Let a release be rolled out again; returns who must hear of it; raises NotKnown."""
        with self._database.write() as session:
            row = session.exec(
                select(QuarantineRow).where(QuarantineRow.release == release)
            ).first()
            if row is None:
                raise NotKnown(
                    f"{release} is not in quarantine", hint="see `sealane quarantine list`"
                )
            session.delete(row)
            detail = f"{release}: {by.reason}".rstrip(": ")
            log(session, DecisionRecord(by.at, "", by.actor, "lift quarantine", detail))
            return bump(session, holders(session, release, row.manifest))

    def _end_rollouts(self, session: Session, source: ReleaseSource, by: By) -> set[DeviceId]:
        states = [str(state) for state in LIVE | PENDING]
        query = select(RolloutRow).where(
            RolloutRow.manifest == source.manifest, col(RolloutRow.state).in_(states)
        )
        concerned: set[DeviceId] = set()
        for row in session.exec(query).all():
            before = self._members.whole(session, row)
            step = recall(before, f"{source.name} is in quarantine: {by.reason}", by.at)
            concerned |= carry_out(session, row, Change(before, step, by))
        return concerned


def _taken_off(session: Session, source: ReleaseSource) -> list[Wanted]:
    """What replaces the release where it is still assigned: what the last rollout replaced."""
    query = select(DesiredRow).where(DesiredRow.manifest == source.manifest)
    rows = session.exec(query).all()
    before = replaced(session, source.manifest)
    return [
        Wanted(DeviceId(row.device), SlotName(row.slot), before.get((row.device, row.slot)), "")
        for row in rows
    ]


def refuse(session: Session, source: ReleaseSource) -> None:
    """Raises Refused when a release is in quarantine."""
    row = session.get(QuarantineRow, source.manifest)
    if row:
        raise Refused(
            f"{source.name} is in quarantine since {row.at:%Y-%m-%d %H:%M}: {row.reason}",
            hint=f"sealane quarantine lift {source.name} --reason …",
        )
