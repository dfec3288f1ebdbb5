"""Which samples are ordered and which are here; what is done with them is in the decision log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.names import DeviceId, ReleaseName, SlotName
from sqlalchemy import delete
from sqlmodel import col, func, select

from sealane_manager.errors import NotKnown
from sealane_manager.store.decisions import log
from sealane_manager.store.desired import bump
from sealane_manager.store.records import DecisionRecord, SampleOrder, SampleRecord
from sealane_manager.store.sight import Sight
from sealane_manager.store.tables.rollouts import DesiredRow
from sealane_manager.store.tables.samples import SampleOrderRow, SampleRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By

SHOWN: Final = 500
"""Samples in one list."""


class Samples(Sight):
    """Keeps orders and the list of samples; the sealed bytes lie in files."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def order(
        self, devices: Sequence[DeviceId], slot: SlotName, until: datetime, by: By
    ) -> Mapping[DeviceId, int]:
        """Want samples until a moment, which ends it when it is over; returns new generations."""
        with self._database.write() as session:
            for device in devices:
                session.merge(
                    SampleOrderRow(
                        device=device, slot=slot, until=until, by=by.actor, reason=by.reason
                    )
                )
            word = "sample" if until > by.at else "end sampling"
            end = f" until {until:%Y-%m-%d %H:%M UTC}" if until > by.at else ""
            named = ", ".join(devices[:5]) + (f" and {len(devices) - 5} more" * (len(devices) > 5))  # noqa: PLR2004 - the first five
            detail = f"slot {slot} of {named}{end}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, word, detail))
            return bump(session, devices)

    def orders(self, now: datetime) -> tuple[SampleOrder, ...]:
        """Those that hold now."""
        lasting = (col(SampleOrderRow.until) > now, *self._within(col(SampleOrderRow.device)))
        query = select(SampleOrderRow).where(*lasting)
        query = query.order_by(col(SampleOrderRow.device), col(SampleOrderRow.slot))
        with self._database.read() as session:
            return tuple(_order(row) for row in session.exec(query))

    def orders_of(self, device: DeviceId, after: datetime) -> Mapping[SlotName, datetime]:
        """Until when samples of its slots are wanted, where that is after a moment."""
        query = select(SampleOrderRow).where(
            SampleOrderRow.device == device, col(SampleOrderRow.until) > after
        )
        with self._database.read() as session:
            return {SlotName(row.slot): row.until for row in session.exec(query)}

    def renew(self, devices: Sequence[DeviceId]) -> Mapping[DeviceId, int]:
        """Let these devices get a new document; returns new generations."""
        with self._database.write() as session:
            return bump(session, devices)

    def serves(self, device: DeviceId, slot: SlotName, release: ReleaseName) -> bool:
        """Whether the director wants this release in the slot of that device."""
        with self._database.read() as session:
            row = session.get(DesiredRow, (device, slot))
            return row is not None and row.release == str(release)

    def add(self, record: SampleRecord) -> None:
        """Remember a sample; one that is here already stays as it is."""
        with self._database.write() as session:
            if session.get(SampleRow, record.id) is None:
                session.add(_row(record))

    def list(self, device: str = "", slot: str = "", release: str = "") -> tuple[SampleRecord, ...]:
        """Samples, the newest first; an empty field means any."""
        query = select(SampleRow).where(*self._within(col(SampleRow.device)))
        for column, value in (
            (col(SampleRow.device), device),
            (col(SampleRow.slot), slot),
            (col(SampleRow.release), release),
        ):
            if value:
                query = query.where(column == value)
        query = query.order_by(col(SampleRow.taken_at).desc(), col(SampleRow.id)).limit(SHOWN)
        with self._database.read() as session:
            return tuple(_record(row) for row in session.exec(query))

    def get(self, sample: str) -> SampleRecord:
        """One sample; raises NotKnown."""
        with self._database.read() as session:
            within = self._within(col(SampleRow.device))
            query = select(SampleRow).where(SampleRow.id == sample, *within)
            row = session.exec(query).first()
            if row is None:
                raise _unknown(sample)
            return _record(row)

    def total_bytes(self) -> int:
        """Of all samples that are here."""
        with self._database.read() as session:
            return int(session.exec(select(func.sum(SampleRow.bytes))).one() or 0)

    def viewed(self, sample: str, by: By) -> SampleRecord:
        """Write down that somebody looks at a sample; raises NotKnown. It is on disk first."""
        return self._noted(sample, by, "view sample")

    def forget(self, sample: str, by: By) -> SampleRecord:
        """Forget a sample; raises NotKnown."""
        found = self._noted(sample, by, "delete sample")
        with self._database.write() as session:
            session.connection().execute(delete(SampleRow).where(col(SampleRow.id) == sample))
        return found

    def prune(self, now: datetime) -> tuple[str, ...]:
        """Forget samples and orders that are over; returns the samples' ids."""
        with self._database.write() as session:
            over = col(SampleRow.keep_until) <= now
            gone = tuple(session.exec(select(SampleRow.id).where(over)))
            connection = session.connection()
            connection.execute(delete(SampleRow).where(over))
            connection.execute(delete(SampleOrderRow).where(col(SampleOrderRow.until) <= now))
            return gone

    def _noted(self, sample: str, by: By, word: str) -> SampleRecord:
        with self._database.write() as session:
            row = session.get(SampleRow, sample)
            if row is None:
                raise _unknown(sample)
            detail = f"{row.id[:16]} of {row.release} in {row.slot} of device {row.device}"
            log(session, DecisionRecord(by.at, "", by.actor, word, f"{detail}: {by.reason}"))
            return _record(row)


def _unknown(sample: str) -> NotKnown:
    return NotKnown(f"there is no sample {sample[:16]}", hint="see `sealane sample list`")


def _order(row: SampleOrderRow) -> SampleOrder:
    return SampleOrder(DeviceId(row.device), SlotName(row.slot), row.until, row.by, row.reason)


def _record(row: SampleRow) -> SampleRecord:
    return SampleRecord(
        id=row.id,
        device=DeviceId(row.device),
        slot=SlotName(row.slot),
        release=row.release,
        trigger=row.trigger,
        taken_at=row.taken_at,
        received_at=row.received_at,
        keep_until=row.keep_until,
        bytes=row.bytes,
    )


def _row(record: SampleRecord) -> SampleRow:
    return SampleRow(
        id=record.id,
        device=record.device,
        slot=record.slot,
        release=record.release,
        trigger=record.trigger,
        taken_at=record.taken_at,
        received_at=record.received_at,
        keep_until=record.keep_until,
        bytes=record.bytes,
    )
