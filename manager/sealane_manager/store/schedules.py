"""Schedules: kept by name, and read whenever a document is made."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sealane.policy import ANY_TIME, Commit, Policy, Trigger
from sqlalchemy import delete, func, update
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.schedule import MAX_SCHEDULES, Schedule, meaning, policy_of
from sealane_manager.store.decisions import log
from sealane_manager.store.orders import labels_of
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables.devices import DeviceRow
from sealane_manager.store.tables.times import ScheduleRow

if TYPE_CHECKING:
    from sealane.names import DeviceId
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By


class Schedules:
    """The schedules of one fleet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> tuple[Schedule, ...]:
        """All of them, by name."""
        with self._database.read() as session:
            return _all(session)

    def put(self, schedule: Schedule, by: By) -> None:
        """Add or replace one; raises Refused (too many). Every device is asked to look again."""
        with self._database.write() as session:
            row = session.get(ScheduleRow, schedule.name)
            count = session.connection().execute(select(func.count()).select_from(ScheduleRow))
            if row is None and int(count.scalar() or 0) >= MAX_SCHEDULES:
                raise Refused(f"there are {MAX_SCHEDULES} schedules already")
            session.merge(_row(schedule))
            _changed(session, by, f"schedule {schedule.name} for {schedule.selector or 'all'}")

    def remove(self, name: str, by: By) -> None:
        """Take one away; raises NotKnown."""
        with self._database.write() as session:
            gone = session.connection().execute(
                delete(ScheduleRow).where(col(ScheduleRow.name) == name)
            )
            if not gone.rowcount:
                raise NotKnown(f"there is no schedule {name}", hint="see `sealane window list`")
            _changed(session, by, f"schedule {name} removed")


def policy_for(session: Session, device: DeviceId) -> tuple[Policy, timedelta]:
    """What the schedules ask of a device, and how long its leases are good (zero: as usual)."""
    schedules = _all(session)
    if not schedules:
        return ANY_TIME, timedelta(0)
    return policy_of(meaning(schedules, labels_of(session, device), device))


def _changed(session: Session, by: By, what: str) -> None:
    """Every device's desired state is another from now on; each is told when it is heard next."""
    session.connection().execute(update(DeviceRow).values(generation=DeviceRow.generation + 1))
    why = f": {by.reason}" if by.reason else ""
    log(session, DecisionRecord(by.at, "", by.actor, "schedule", what + why))


def _all(session: Session) -> tuple[Schedule, ...]:
    rows = session.exec(select(ScheduleRow).order_by(ScheduleRow.name)).all()
    return tuple(_schedule(row) for row in rows)


def _row(schedule: Schedule) -> ScheduleRow:
    return ScheduleRow(
        name=schedule.name,
        selector=schedule.selector,
        download=list(schedule.download),
        activation=list(schedule.activation),
        trigger=str(schedule.trigger),
        commit=str(schedule.commit),
        lease_s=round(schedule.lease.total_seconds()),
        interrupts=schedule.interrupts,
    )


def _schedule(row: ScheduleRow) -> Schedule:
    return Schedule(
        row.name,
        row.selector,
        tuple(row.download),
        tuple(row.activation),
        Trigger(row.trigger),
        Commit(row.commit),
        timedelta(seconds=row.lease_s),
        interrupts=row.interrupts,
    )
