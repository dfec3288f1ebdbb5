"""Devices as a forecast needs them: everybody that a selector means, read in three statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.names import DeviceId
from sqlalchemy import select as columns
from sqlmodel import col, select

from sealane_manager.rollout.prospect import Prospect
from sealane_manager.store import rows
from sealane_manager.store.candidates import busy
from sealane_manager.store.devices import conditions
from sealane_manager.store.records import Standing
from sealane_manager.store.tables.devices import DeviceRow, LabelRow, SlotRow
from sealane_manager.store.tables.rollouts import DesiredRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlmodel import Session

    from sealane_manager.selector import Selector
    from sealane_manager.store.database import Database


class Prospects:
    """Reads devices before a rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, selector: Selector, slot: str) -> tuple[Prospect, ...]:
        """Everybody that the selector means, but for revoked devices."""
        desired = (col(DesiredRow.device) == DeviceRow.id) & (col(DesiredRow.slot) == slot)
        reported = (col(SlotRow.device) == DeviceRow.id) & (col(SlotRow.slot) == slot)
        query = (
            columns(
                col(DeviceRow.id),
                col(DeviceRow.state),
                col(DeviceRow.facts),
                col(DesiredRow.release),
                col(SlotRow.active_release),
                col(SlotRow.lkg_release),
            )
            .outerjoin(DesiredRow, desired)
            .outerjoin(SlotRow, reported)
            .where(*conditions(selector), col(DeviceRow.state) != str(Standing.REVOKED))
            .order_by(DeviceRow.id)
        )
        with self._database.read() as session:
            labels = _labels(session, selector)
            changing = busy(session, slot)
            return tuple(
                Prospect(
                    device=DeviceId(name),
                    standing=state,
                    labels=labels.get(name, {}),
                    facts=rows.facts(facts) if facts else None,
                    active=active or "",
                    lkg=lkg or "",
                    assigned=assigned or "",
                    busy=changing.get(name, ""),
                )
                for name, state, facts, assigned, active, lkg in session.execute(query)
            )


def _labels(session: Session, selector: Selector) -> Mapping[str, dict[str, str]]:
    meant = select(DeviceRow.id).where(*conditions(selector))
    query = select(LabelRow.device, LabelRow.key, LabelRow.value)
    if selector.terms:
        query = query.where(col(LabelRow.device).in_(meant))
    found: dict[str, dict[str, str]] = {}
    for device, key, value in session.exec(query):
        found.setdefault(device, {})[key] = value
    return found
