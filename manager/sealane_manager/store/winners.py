"""Keeps which variant of a bundle won on which class of hardware, as receipts say."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from sealane.fleet import Winner
from sealane.limits import WINNERS_TOLD
from sqlalchemy import delete, insert
from sqlalchemy import select as columns
from sqlmodel import col, select

from sealane_manager.store.records import Standing
from sealane_manager.store.tables.devices import DeviceRow, WinnerRow
from sealane_manager.store.tables.rollouts import DesiredRow
from sealane_manager.winners import winner_of

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.names import DeviceId
    from sealane.receipt import Receipt
    from sqlmodel import Session

    from sealane_manager.store.database import Database

KEPT: Final = 64
"""Classes of hardware of which the winner of one bundle is kept: those told of last."""


class Winners:
    """Reads them; only receipts write them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, device: DeviceId, hardware: str) -> tuple[Winner, ...]:
        """Those of the bundles that are assigned to a device, for the class that it names.

        What was told by a device that may not speak any more is passed over.
        """
        if not hardware:
            return ()
        query = (
            select(WinnerRow)
            .join(DesiredRow, col(DesiredRow.manifest) == col(WinnerRow.manifest))
            .join(DeviceRow, col(DeviceRow.id) == col(WinnerRow.device))
            .where(
                DesiredRow.device == device,
                WinnerRow.hardware == hardware,
                DeviceRow.state == str(Standing.ACTIVE),
            )
            .distinct()
            .order_by(col(WinnerRow.manifest))
            .limit(WINNERS_TOLD)
        )
        with self._database.read() as session:
            return tuple(_winner(row) for row in session.exec(query))


def remember(session: Session, receipt: Receipt, now: datetime) -> None:
    """Keep what a receipt says of the bundle that its device is to serve, the newest word of each.

    Of what nobody assigned to the device nothing is kept, however much it tells.
    """
    winner = winner_of(receipt)
    assigned = session.get(DesiredRow, (receipt.device, receipt.slot))
    if winner is None or assigned is None or assigned.manifest != winner.manifest:
        return
    connection, same = session.connection(), col(WinnerRow.manifest) == winner.manifest
    hardware = col(WinnerRow.hardware)
    connection.execute(delete(WinnerRow).where(same, hardware == winner.hardware))
    row = asdict(winner) | {"device": receipt.device, "told_at": now}
    connection.execute(insert(WinnerRow), [row])
    newest = col(WinnerRow.told_at).desc()
    kept = columns(hardware).where(same).order_by(newest, hardware).limit(KEPT)
    connection.execute(delete(WinnerRow).where(same, hardware.not_in(kept)))


def _winner(row: WinnerRow) -> Winner:
    return Winner(row.hardware, row.manifest, row.variant, row.latency_us)
