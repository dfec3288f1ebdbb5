"""Devices: who they are, what they said last, and which of them a selector means."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane.names import DeviceId, parse_label
from sqlalchemy import bindparam, delete, exists, func, or_, true, update
from sqlalchemy import select as core_select
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.types import LIVE, DeviceState
from sealane_manager.selector import DEVICE, EVERYTHING
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.observations import fold
from sealane_manager.store.records import DecisionRecord, Standing
from sealane_manager.store.sight import Sight
from sealane_manager.store.tables.devices import DeviceRow, LabelRow, SlotRow
from sealane_manager.store.tables.rollouts import RolloutDeviceRow, RolloutRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sealane.fleet import Hello, SlotReport
    from sqlalchemy import ColumnElement
    from sqlmodel import Session

    from sealane_manager.selector import Selector, Term
    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By, DeviceRecord, NewDevice

MAX_LABELS: Final = 64
"""Labels of one device."""

_FEW: Final = range(1, 3)
"""Values of a label with which a term is taken to name a few devices of a fleet."""

MAX_SLOTS: Final = 1024
"""Slots of one device: as many as a director document holds."""


class Devices(Sight):
    """Keeps devices; when one was last heard is kept in memory and flushed in batches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: dict[DeviceId, datetime] = {}
        self._unflushed: set[DeviceId] = set()
        self._lock = threading.Lock()

    def enrol(self, new: NewDevice) -> DeviceRecord:
        """Keep a new device; raises Refused when its id or its key is taken.

        The id of a device that was revoked is free again: another machine takes its place.
        """
        with self._database.write() as session:
            add_device(session, new)
            actor = f"token {new.token}"
            action = "apply" if new.waits else "enrol"
            detail = f"device {new.id}, key {new.key_fingerprint}"
            log(session, DecisionRecord(new.enrolled_at, "", actor, action, detail))
        return self.get(new.id)

    def get(self, device: DeviceId) -> DeviceRecord:
        """One device; raises NotKnown."""
        found = self._records([col(DeviceRow.id) == device])
        if not found:
            raise NotKnown(f"there is no device {device}", hint="see `sealane device list`")
        return found[0]

    def list(self, selector: Selector = EVERYTHING) -> tuple[DeviceRecord, ...]:
        """The devices that the selector means, by id."""
        return self._records(conditions(selector))

    def label(
        self, device: DeviceId, given: Mapping[str, str], remove: Sequence[str], by: By
    ) -> DeviceRecord:
        """Set and remove labels; raises NotKnown, InvalidName, or Refused (too many)."""
        for key, value in given.items():
            parse_label(key, value)
        with self._database.write() as session:
            known(session, device)
            gone = [*remove, *given]
            session.connection().execute(
                delete(LabelRow).where(col(LabelRow.device) == device, col(LabelRow.key).in_(gone))
            )
            _set_labels(session, device, given)
            words = [f"{key}={value}" for key, value in given.items()]
            detail = " ".join([f"device {device}:", *words, *(f"-{key}" for key in remove)])
            why = f": {by.reason}" if by.reason else ""
            log(session, DecisionRecord(by.at, "", by.actor, "label", detail + why))
        return self.get(device)

    def revoke(self, device: DeviceId, by: By) -> None:
        """Never listen to this device again; raises NotKnown. Rollouts no longer wait for it."""
        with self._database.write() as session:
            row = known(session, device)
            row.state = Standing.REVOKED
            row.state_reason = by.reason
            session.add(row)
            pass_over(session, device, "the device was revoked", by.at)
            detail = f"device {device}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "revoke", detail))

    def approve(self, device: DeviceId, by: By) -> None:
        """Admit a device that waits; raises NotKnown or Refused."""
        with self._database.write() as session:
            row = known(session, device)
            if row.state != Standing.PENDING:
                raise Refused(f"device {device} is {row.state}; it waits for no approval")
            row.state = Standing.ACTIVE
            session.add(row)
            detail = f"device {device}, key {row.key_fingerprint}: {by.reason}".removesuffix(": ")
            log(session, DecisionRecord(by.at, "", by.actor, "approve", detail))

    def quarantine(self, device: DeviceId, by: By) -> None:
        """Do not listen to this device until it is readmitted; raises NotKnown or Refused."""
        with self._database.write() as session:
            row = known(session, device)
            if row.state != Standing.ACTIVE:
                raise Refused(f"device {device} is {row.state}, not active")
            row.state, row.state_reason = Standing.QUARANTINED, by.reason
            session.add(row)
            pass_over(session, device, "the device is in quarantine", by.at)
            detail = f"device {device}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "quarantine", detail))

    def readmit(self, device: DeviceId, by: By) -> None:
        """Listen again to a device in quarantine; raises NotKnown or Refused."""
        with self._database.write() as session:
            row = known(session, device)
            if row.state != Standing.QUARANTINED:
                raise Refused(f"device {device} is {row.state}, not in quarantine")
            row.state, row.state_reason = Standing.ACTIVE, ""
            session.add(row)
            detail = f"device {device}: {by.reason}"
            log(session, DecisionRecord(by.at, "", by.actor, "readmit", detail))

    def seen(self, device: DeviceId, now: datetime) -> None:
        """Remember that the device was heard; costs no write."""
        with self._lock:
            self._heard[device] = now
            self._unflushed.add(device)

    def last_seen(self, device: DeviceId, stored: datetime | None) -> datetime | None:
        """When it was last heard, given what the database says."""
        heard = self._heard.get(device)
        return max(heard, stored) if heard and stored else heard or stored

    def flush_seen(self) -> int:
        """Write when devices were last heard; returns how many."""
        with self._lock:
            names, self._unflushed = self._unflushed, set()
        if not names:
            return 0
        statement = (
            update(DeviceRow)
            .where(col(DeviceRow.id) == bindparam("device_id"))
            .values(last_seen=bindparam("heard"))
        )
        heard = [{"device_id": name, "heard": self._heard[name]} for name in names]
        try:
            with self._database.write() as session:
                session.connection().execute(statement, heard)
        except BaseException:
            with self._lock:
                self._unflushed |= names
            raise
        return len(heard)

    def hello(
        self, device: DeviceId, hello: Hello, now: datetime, certificate: datetime | None = None
    ) -> DeviceRecord:
        """Record what a device says when it connects, and when its certificate ends.

        Raises NotKnown, or Refused (not active).
        """
        with self._database.write() as session:
            row = active(session, device)
            row.agent_version = hello.agent_version[: rows.MAX_WORD]
            row.boot_id = hello.boot_id[: rows.MAX_WORD]
            row.facts = rows.facts_fields(hello.facts)
            row.certificate_expires = certificate or row.certificate_expires
            session.add(row)
            _record_slots(session, device, hello.slots, now)
        self.seen(device, now)
        return self.get(device)

    def report(self, device: DeviceId, slots: Sequence[SlotReport], now: datetime) -> None:
        """Record what the slots do now; writes only what changed. Raises NotKnown."""
        self.seen(device, now)
        with self._database.write() as session:
            known(session, device)
            _record_slots(session, device, slots, now)

    def _records(self, where: Sequence[ColumnElement[bool]]) -> tuple[DeviceRecord, ...]:
        where = [*where, *self._within(col(DeviceRow.id))]
        chosen = select(DeviceRow.id).where(*where)
        labels: dict[str, dict[str, str]] = defaultdict(dict)
        slots: dict[str, list[SlotReport]] = defaultdict(list)
        with self._database.read() as session:
            for label in session.exec(select(LabelRow).where(col(LabelRow.device).in_(chosen))):
                labels[label.device][label.key] = label.value
            for slot in session.exec(select(SlotRow).where(col(SlotRow.device).in_(chosen))):
                slots[slot.device].append(rows.slot_report(slot))
            found = session.exec(select(DeviceRow).where(*where).order_by(col(DeviceRow.id)))
            records = [rows.device_record(row, labels[row.id], slots[row.id]) for row in found]
        return tuple(
            replace(each, last_seen=self.last_seen(each.id, each.last_seen)) for each in records
        )


def conditions(selector: Selector) -> list[ColumnElement[bool]]:
    """The selector as SQL on the table of devices.

    Whom a term of a value or two means is looked up by label, and then the other terms are asked of
    those alone. Whom terms leave out is looked up once where none of them names so few.
    """
    few = any(_names_few(term) for term in selector.terms)
    return [_condition(term, few=few) for term in selector.terms]


def _names_few(term: Term) -> bool:
    return not term.negated and len(term.values or ()) in _FEW


def _condition(term: Term, *, few: bool) -> ColumnElement[bool]:
    if term.key == DEVICE:
        named = col(DeviceRow.id).in_(sorted(term.values)) if term.values is not None else true()
        return ~named if term.negated else named
    looked_up = not few if term.negated else _names_few(term)
    found = _by_label(term) if looked_up else _by_device(term)
    return ~found if term.negated else found


def _by_label(term: Term) -> ColumnElement[bool]:
    where = [col(LabelRow.key) == term.key]
    if term.values is not None:
        where.append(col(LabelRow.value).in_(sorted(term.values)))
    return col(DeviceRow.id).in_(select(LabelRow.device).where(*where))


def _by_device(term: Term) -> ColumnElement[bool]:
    where = [col(LabelRow.device) == col(DeviceRow.id), col(LabelRow.key) == term.key]
    if term.values is not None:
        # Not the bare column: the index would be asked once for each value.
        where.append(col(LabelRow.value).concat("").in_(sorted(term.values)))
    return exists().where(*where)


def chosen(session: Session, selector: Selector) -> list[DeviceId]:
    """The devices that the selector means, by id, whatever state they are in but revoked.

    They come as one JSON text: a row for each of a hundred thousand costs ten times as much.
    """
    names = core_select(func.json_group_array(col(DeviceRow.id))).where(
        *conditions(selector), col(DeviceRow.state) != str(Standing.REVOKED)
    )
    return sorted(json.loads(session.connection().execute(names).scalar_one()))


def record_slots(
    session: Session, device: DeviceId, slots: Iterable[SlotReport], now: datetime
) -> None:
    """Write what slots said, where it differs from what they said before."""
    for report in slots:
        old = session.get(SlotRow, (device, report.slot))
        new = rows.slot_row(device, report, now)
        if not old:
            session.add(new)
        elif rows.slot_report(old) != rows.slot_report(new):
            old.sqlmodel_update(new.model_dump())
            session.add(old)


def _record_slots(
    session: Session, device: DeviceId, slots: Sequence[SlotReport], now: datetime
) -> None:
    if len(slots) > MAX_SLOTS:
        raise Refused(f"device {device} reports {len(slots)} slots; at most {MAX_SLOTS} are kept")
    record_slots(session, device, slots, now)
    fold(session, device, slots, now)


def known(session: Session, device: DeviceId) -> DeviceRow:
    """The device's row; raises NotKnown."""
    row = session.get(DeviceRow, device)
    if not row:
        raise NotKnown(f"there is no device {device}", hint="see `sealane device list`")
    return row


def active(session: Session, device: DeviceId) -> DeviceRow:
    """The row of a device that may speak; raises NotKnown, or Refused when it may not."""
    row = known(session, device)
    if row.state != Standing.ACTIVE:
        raise Refused(f"device {device} was {row.state}")
    return row


def add_device(session: Session, new: NewDevice) -> None:
    """Write a new device with its labels; raises Refused when its id or its key is taken."""
    row = _free_row(session, new)
    row.state, row.state_reason = _first_state(new), ""
    row.public_key, row.key_fingerprint = new.public_key, new.key_fingerprint
    row.previous_key = row.previous_fingerprint = None
    row.key_since = row.key_shown_at = row.certificate_expires = None
    row.token, row.enrolled_at = new.token, new.enrolled_at
    session.add(row)
    session.execute(delete(LabelRow).where(col(LabelRow.device) == new.id))
    session.flush()
    _set_labels(session, new.id, new.labels)


def _free_row(session: Session, new: NewDevice) -> DeviceRow:
    """The row of a device that was revoked, or a new one; raises Refused."""
    row = session.get(DeviceRow, new.id)
    if row and row.state != Standing.REVOKED:
        raise Refused(
            f"another device is called {new.id} already",
            hint="choose another name, or revoke that device first",
        )
    if other := owner(session, new.key_fingerprint):
        raise Refused(f"this key belongs to device {other} already")
    return row or DeviceRow(
        id=new.id,
        name=new.name,
        state=Standing.ACTIVE,
        public_key=new.public_key,
        key_fingerprint=new.key_fingerprint,
        token=new.token,
        enrolled_at=new.enrolled_at,
    )


def _first_state(new: NewDevice) -> Standing:
    return Standing.PENDING if new.waits else Standing.ACTIVE


def owner(session: Session, fingerprint: str) -> str | None:
    """The device whose current or previous key this is."""
    mine = col(DeviceRow.key_fingerprint) == fingerprint
    was_mine = col(DeviceRow.previous_fingerprint) == fingerprint
    return session.exec(select(DeviceRow.id).where(or_(mine, was_mine))).first()


def _set_labels(session: Session, device: DeviceId, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        session.add(LabelRow(key=key, value=value, device=device))
    session.flush()
    count = len(session.exec(select(LabelRow.key).where(LabelRow.device == device)).all())
    if count > MAX_LABELS:
        raise Refused(f"device {device} would have {count} labels; at most {MAX_LABELS} are kept")


def pass_over(session: Session, device: DeviceId, reason: str, now: datetime) -> None:
    """No rollout waits for a device that may not speak any more."""
    running = select(RolloutRow.id).where(col(RolloutRow.state).in_([str(each) for each in LIVE]))
    session.connection().execute(
        update(RolloutDeviceRow)
        .where(
            col(RolloutDeviceRow.device) == device,
            col(RolloutDeviceRow.state) == str(DeviceState.WAITING),
            col(RolloutDeviceRow.rollout).in_(running),
        )
        .values(state=str(DeviceState.SKIPPED), detail=reason, changed_at=now)
    )
