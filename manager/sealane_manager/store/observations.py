"""Applies what a device says to the rollouts it takes part in, in the transaction of its word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.fleet import SlotReport
from sqlmodel import col, select

from sealane_manager.rollout.observe import proven, reported, target
from sealane_manager.rollout.types import BROKEN, LIVE, DeviceState, RolloutState
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables.rollouts import RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sealane.names import DeviceId
    from sealane.receipt import Receipt
    from sqlmodel import Session

    from sealane_manager.rollout.types import RolloutDevice

_LISTENING: Final = [str(state) for state in (*LIVE, RolloutState.REVERTED)]
_TOLD: Final = BROKEN | {DeviceState.SERVING}


def fold(
    session: Session, device: DeviceId, words: Sequence[SlotReport | Receipt], now: datetime
) -> None:
    """Move the device in every rollout that listens to it, word by word."""
    query = (
        select(RolloutRow, RolloutDeviceRow)
        .join(RolloutDeviceRow, col(RolloutDeviceRow.rollout) == col(RolloutRow.id))
        .where(RolloutDeviceRow.device == device, col(RolloutRow.state).in_(_LISTENING))
    )
    for rollout_row, row in session.exec(query).all():
        wanted = target(rows.rollout(rollout_row, ()), rows.digest(rollout_row.manifest))
        before = after = rows.rollout_device(row, None)
        for word in words:
            after = (
                reported(wanted, after, word, now)
                if isinstance(word, SlotReport)
                else proven(wanted, after, word, now)
            )
        if after != before:
            row.sqlmodel_update(rows.moving(after))
            session.add(row)
            _tell(session, rollout_row.id, before, after)


def _tell(session: Session, rollout: str, before: RolloutDevice, after: RolloutDevice) -> None:
    if after.state is before.state or after.state not in _TOLD:
        return
    actor = f"device {after.device}"
    log(
        session,
        DecisionRecord(after.changed_at, rollout, actor, str(after.state), after.detail),
    )
