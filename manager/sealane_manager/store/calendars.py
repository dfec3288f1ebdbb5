"""Calendars: kept by name, and read with every rollout that keeps to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func
from sqlmodel import col, select

from sealane_manager.calendars import EVERY, MAX_CALENDARS, Calendar, named
from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.notation import freeze_text, parse_freeze
from sealane_manager.rollout.types import LIVE, PENDING
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables.rollouts import RolloutRow
from sealane_manager.store.tables.times import CalendarRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By


class Calendars:
    """The calendars of one fleet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> tuple[Calendar, ...]:
        """All of them, by name."""
        with self._database.read() as session:
            return all_calendars(session)

    def put(self, calendar: Calendar, by: By) -> None:
        """Add or replace one; raises Refused (too many). Rollouts keep to it from now on."""
        with self._database.write() as session:
            count = session.connection().execute(select(func.count()).select_from(CalendarRow))
            known = session.get(CalendarRow, calendar.name)
            if known is None and int(count.scalar() or 0) >= MAX_CALENDARS:
                raise Refused(f"there are {MAX_CALENDARS} calendars already")
            session.merge(_row(calendar))
            _tell(session, by, f"calendar {calendar.name} for {calendar.selector or 'all'}")

    def remove(self, name: str, by: By) -> None:
        """Take one away; raises NotKnown, and Refused while a rollout keeps to it."""
        with self._database.write() as session:
            row = session.get(CalendarRow, name)
            if row is None:
                raise NotKnown(f"there is no calendar {name}", hint="see `sealane calendar list`")
            if user := _user(session, name):
                raise Refused(
                    f"rollout {user} keeps to calendar {name} and is not over",
                    hint="end the rollout first, or change its hours: sealane calendar set",
                )
            session.delete(row)
            _tell(session, by, f"calendar {name} removed")


def all_calendars(session: Session) -> tuple[Calendar, ...]:
    """All of them, by name."""
    rows = session.exec(select(CalendarRow).order_by(CalendarRow.name)).all()
    return tuple(_calendar(row) for row in rows)


def kept_to(session: Session, names: Sequence[str]) -> tuple[Calendar, ...]:
    """Those that a rollout keeps to; no question without names."""
    return named(all_calendars(session), names) if names else ()


def refuse_unknown(session: Session, names: Sequence[str]) -> None:
    """Raise NotKnown when a rollout would keep to a calendar that is not there."""
    known = {each.name for each in kept_to(session, names)} | {EVERY}
    missing = sorted(set(names) - known)
    if missing:
        raise NotKnown(
            f"there is no calendar {', '.join(missing)}", hint="see `sealane calendar list`"
        )


def _user(session: Session, name: str) -> str:
    states = [str(state) for state in LIVE | PENDING]
    query = select(RolloutRow).where(col(RolloutRow.state).in_(states)).order_by(RolloutRow.id)
    using = (row.id for row in session.exec(query) if name in row.terms.get("calendars", ()))
    return next(using, "")


def _tell(session: Session, by: By, what: str) -> None:
    why = f": {by.reason}" if by.reason else ""
    log(session, DecisionRecord(by.at, "", by.actor, "calendar", what + why))


def _row(calendar: Calendar) -> CalendarRow:
    return CalendarRow(
        name=calendar.name,
        selector=calendar.selector,
        zone=calendar.zone,
        hours=list(calendar.hours),
        freezes=[freeze_text(each) for each in calendar.freezes],
        holidays=list(calendar.holidays),
    )


def _calendar(row: CalendarRow) -> Calendar:
    freezes = tuple(map(parse_freeze, row.freezes))
    return Calendar(
        row.name, row.selector, row.zone, tuple(row.hours), freezes, tuple(row.holidays)
    )
