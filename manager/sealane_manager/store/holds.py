"""Holds that the manager orders: kept until they end, and read whenever a document is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.hold_order import MAX_HOLDS, concerning
from sealane_manager.selector import one, parse
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import bump
from sealane_manager.store.devices import chosen, conditions
from sealane_manager.store.orders import hold_order, hold_orders, labels_of
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.sight import Sight
from sealane_manager.store.tables.devices import DeviceRow
from sealane_manager.store.tables.times import HoldRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sealane.names import DeviceId
    from sqlmodel import Session

    from sealane_manager.hold_order import HoldOrder
    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By


class Holds(Sight):
    """The holds of one fleet."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, now: datetime) -> tuple[HoldOrder, ...]:
        """Those that have not ended, the next to end first."""
        with self._database.read() as session:
            found = hold_orders(session, now)
            return tuple(each for each in found if self._concerns(session, each.selector))

    def get(self, name: str) -> HoldOrder:
        """One hold; raises NotKnown."""
        with self._database.read() as session:
            row = session.get(HoldRow, name)
            if row is None or not self._concerns(session, row.selector):
                raise _unknown(name)
            return hold_order(row)

    def of(self, device: DeviceId, now: datetime) -> tuple[HoldOrder, ...]:
        """Those that hold one device back."""
        with self._database.read() as session:
            if not self._concerns(session, one(device)):
                return ()
            orders = hold_orders(session, now)
            return concerning(orders, labels_of(session, device), device, now)

    def _concerns(self, session: Session, selector: str) -> bool:
        """Whether a selector means a device that is seen."""
        if not self.bounds:
            return True
        meant = (*conditions(parse(selector)), *self._within(col(DeviceRow.id)))
        return session.exec(select(DeviceRow.id).where(*meant).limit(1)).first() is not None

    def place(self, order: HoldOrder, by: By) -> Mapping[DeviceId, int]:
        """Keep an order; returns who must hear of it.

        Raises NotKnown when it means no device, and Refused when there are too many.
        """
        hold = order.hold
        with self._database.write() as session:
            concerned = _meant(session, order.selector)
            if not concerned:
                raise NotKnown(
                    f"no device matches {order.selector!r}", hint="see `sealane device list`"
                )
            session.connection().execute(delete(HoldRow).where(col(HoldRow.until) <= by.at))
            count = session.connection().execute(select(func.count()).select_from(HoldRow))
            if int(count.scalar() or 0) >= MAX_HOLDS:
                raise Refused(f"there are {MAX_HOLDS} holds already", hint="release some of them")
            session.add(
                HoldRow(
                    id=hold.id,
                    selector=order.selector,
                    slot=hold.slot,
                    owner=hold.owner,
                    reason=hold.reason,
                    until=hold.until,
                    placed_at=order.placed_at,
                )
            )
            _log(session, by, "hold", order)
            return bump(session, concerned)

    def release(self, name: str, by: By) -> Mapping[DeviceId, int]:
        """End an order before its time; returns who must hear of it. Raises NotKnown."""
        with self._database.write() as session:
            row = session.get(HoldRow, name)
            if row is None or row.until <= by.at:
                raise _unknown(name)
            order = hold_order(row)
            session.delete(row)
            _log(session, by, "release", order)
            return bump(session, _meant(session, order.selector))


def _unknown(name: str) -> NotKnown:
    return NotKnown(f"there is no hold {name[:40]}", hint="see `sealane device holds`")


def _meant(session: Session, selector: str) -> set[DeviceId]:
    return set(chosen(session, parse(selector)))


def _log(session: Session, by: By, action: str, order: HoldOrder) -> None:
    hold = order.hold
    where = f"slot {hold.slot} " if hold.slot else ""
    subject = order.selector.replace("device=", "device ", 1)
    detail = f"{subject}: {hold.id} {where}until {hold.until:%Y-%m-%d %H:%M UTC}: {by.reason}"
    log(session, DecisionRecord(by.at, "", by.actor, action, detail.rstrip(": ")))
