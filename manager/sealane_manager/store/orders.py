"""What the manager orders a device beside releases: quarantine, and holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.holds import Hold
from sealane.limits import QUARANTINE_REASON_CHARS, QUARANTINED_RELEASES
from sealane.names import DeviceId, ReleaseName
from sealane.trust.documents import Quarantined
from sqlmodel import col, or_, select

from sealane_manager.hold_order import HoldOrder, concerning
from sealane_manager.store import rows
from sealane_manager.store.tables.devices import LabelRow, ReceiptRow, SlotRow
from sealane_manager.store.tables.rollouts import (
    DesiredRow,
    KitRow,
    QuarantineRow,
    RolloutDeviceRow,
    RolloutRow,
)
from sealane_manager.store.tables.times import HoldRow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlmodel import Session


def quarantined_for(session: Session, device: DeviceId) -> tuple[Quarantined, ...]:
    """Releases in quarantine of every model that the device may hold; the newest ones."""
    found = session.exec(select(QuarantineRow).order_by(col(QuarantineRow.at).desc())).all()
    if not found:
        return ()
    models = _models(session, device)
    concerned = [row for row in found if _model(row.release) in models]
    return tuple(
        Quarantined(rows.digest(row.manifest), row.reason[:QUARANTINE_REASON_CHARS], row.stops)
        for row in concerned[:QUARANTINED_RELEASES]
    )


def holders(session: Session, release: str, manifest: str) -> set[DeviceId]:
    """Devices that may hold a release: assigned, carried there, serving, warm, staged or on disk.

    What no rollout brought is known by the kit that brought it, or by what the device said of it.
    """
    took_part = select(RolloutDeviceRow.device).where(
        col(RolloutDeviceRow.rollout).in_(
            select(RolloutRow.id).where(RolloutRow.manifest == manifest)
        )
    )
    named = (SlotRow.active_release, SlotRow.lkg_release, SlotRow.attempt_release)
    reported = select(SlotRow.device).where(or_(*(col(name) == release for name in named)))
    assigned = select(DesiredRow.device).where(DesiredRow.manifest == manifest)
    carried = select(KitRow.device).where(KitRow.manifest == manifest)
    vouched = select(ReceiptRow.device).where(ReceiptRow.release == release)
    queries = (took_part, reported, assigned, carried, vouched)
    return {DeviceId(device) for query in queries for device in session.exec(query)}


def holds_for(session: Session, device: DeviceId, now: datetime) -> tuple[Hold, ...]:
    """The holds that a document tells the device of."""
    orders = hold_orders(session, now)
    if not orders:
        return ()
    found = concerning(orders, labels_of(session, device), device, now)
    return tuple(each.hold for each in found)


def hold_orders(session: Session, now: datetime) -> tuple[HoldOrder, ...]:
    """Every order of hold that has not ended, the next to end first."""
    query = select(HoldRow).where(col(HoldRow.until) > now).order_by(col(HoldRow.until), HoldRow.id)
    return tuple(hold_order(row) for row in session.exec(query))


def hold_order(row: HoldRow) -> HoldOrder:
    """An order of hold."""
    hold = Hold(row.id, row.slot, row.owner, row.reason, row.until)
    return HoldOrder(hold, row.selector, row.placed_at)


def labels_of(session: Session, device: DeviceId) -> dict[str, str]:
    """The labels of a device."""
    found = session.exec(select(LabelRow).where(LabelRow.device == device))
    return {each.key: each.value for each in found}


def _models(session: Session, device: DeviceId) -> set[str]:
    rolled_out = (
        select(RolloutRow.release)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.rollout) == col(RolloutRow.id))
        .where(RolloutDeviceRow.device == device)
        .distinct()
    )
    assigned = select(DesiredRow.release).where(DesiredRow.device == device)
    carried = select(KitRow.release).where(KitRow.device == device).distinct()
    vouched = select(ReceiptRow.release).where(ReceiptRow.device == device).distinct()
    reported = select(SlotRow).where(SlotRow.device == device)
    queries = (rolled_out, assigned, carried, vouched)
    names: list[str] = [name for query in queries for name in session.exec(query)]
    for row in session.exec(reported):
        names += [row.active_release, row.lkg_release, row.attempt_release]
    return set(_named(names))


def _named(releases: Iterable[str]) -> Iterable[str]:
    return (_model(release) for release in releases if release)


def _model(release: str) -> str:
    return ReleaseName.parse(release).model
