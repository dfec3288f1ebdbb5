"""The outbox's other end: events are stored once, in order, and then acknowledged."""

from __future__ import annotations

import hashlib
import logging
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)
from sealane import receipt as receipts
from sealane.errors import ReceiptError
from sealane.fleet import SlotReport
from sealane.limits import EVENTS_PER_MESSAGE
from sealane.receipt import Receipt, SignedReceipt
from sqlalchemy import delete, insert
from sqlmodel import col, select

from sealane_manager.errors import Refused
from sealane_manager.store import rows
from sealane_manager.store.decisions import log
from sealane_manager.store.devices import known, record_slots
from sealane_manager.store.observations import fold
from sealane_manager.store.records import DecisionRecord
from sealane_manager.store.tables.devices import EventRow, ReceiptRow, SlotRow
from sealane_manager.store.winners import remember

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sealane.fleet import Event
    from sealane.names import DeviceId
    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import ReceiptRecord

CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""By so much a device's trusted time may be behind the manager's."""

MAX_SEQUENCE: Final = 2**63 - 1
"""Largest sequence number: what a database's integer holds."""

_log = logging.getLogger(__name__)


class Events:
    """Stores what devices' outboxes send."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, device: DeviceId, events: Sequence[Event], now: datetime) -> int:
        """Store events that are new, and return the sequence up to which all are stored.

        An event that was stored before is passed over; a gap is taken as it is, since a device
        sends in order. A receipt that is not the device's own is kept as refused, and moves
        nothing. Raises NotKnown, or Refused when there are too many events in one message.
        """
        _check(device, events)
        keys = self._keys(device)
        read = {each.sequence: _read(device, each, keys) for each in events}
        with self._database.write() as session:
            row = known(session, device)
            fresh = sorted(number for number in read if number > row.acked_sequence)
            if not fresh:
                return row.acked_sequence
            news = {each.sequence: each for each in events}
            _store(session, device, [(news[number], read[number]) for number in fresh], now)
            said = [read[number] for number in fresh]
            _keep_keys(session, device, [s for s in said if isinstance(s, Receipt)], keys)
            row.acked_sequence = fresh[-1]
            session.add(row)
            return row.acked_sequence

    def receipts_of(self, rollout: str) -> tuple[ReceiptRecord, ...]:
        """Every receipt that counts for a rollout, oldest first."""
        query = (
            select(ReceiptRow)
            .where(ReceiptRow.rollout == rollout)
            .order_by(col(ReceiptRow.received_at), ReceiptRow.device, col(ReceiptRow.sequence))
        )
        with self._database.read() as session:
            return tuple(rows.receipt(row) for row in session.exec(query))

    def prune(self, before: datetime) -> int:
        """Forget events (never receipts) that arrived before a moment; returns how many."""
        with self._database.write() as session:
            gone = session.connection().execute(
                delete(EventRow).where(col(EventRow.received_at) < before)
            )
            return gone.rowcount

    def _keys(self, device: DeviceId) -> tuple[ec.EllipticCurvePublicKey, ...]:
        """The current key, then the previous one: a receipt may be older than a renewal."""
        with self._database.read() as session:
            row = known(session, device)
            pems = [pem for pem in (row.public_key, row.previous_key) if pem]
        keys = [load_pem_public_key(pem) for pem in pems]
        signing = tuple(key for key in keys if isinstance(key, ec.EllipticCurvePublicKey))
        if len(signing) != len(keys):
            raise Refused(f"the key of device {device} cannot sign receipts")
        return signing


def _check(device: DeviceId, events: Sequence[Event]) -> None:
    if len(events) > EVENTS_PER_MESSAGE:
        raise Refused(
            f"device {device} sent {len(events)} events at once; at most {EVENTS_PER_MESSAGE}"
        )
    if any(not 0 < event.sequence <= MAX_SEQUENCE for event in events):
        raise Refused(f"device {device} sent an event with an impossible sequence number")


def _read(
    device: DeviceId, event: Event, keys: Sequence[ec.EllipticCurvePublicKey]
) -> SlotReport | Receipt | str:
    """What the event says, or why it is refused."""
    if isinstance(event.body, SlotReport):
        return event.body
    try:
        return _verified(device, event.body, keys)
    except ReceiptError as error:
        _log.warning("refused a receipt: device=%s reason=%s", device, error)
        return str(error)[: rows.MAX_SENTENCE]


def _verified(
    device: DeviceId, signed: SignedReceipt, keys: Sequence[ec.EllipticCurvePublicKey]
) -> Receipt:
    receipt = _signed_by_one(signed, keys)
    if receipt.device != device:
        raise ReceiptError("the receipt speaks of another device")
    return receipt


def _signed_by_one(signed: SignedReceipt, keys: Sequence[ec.EllipticCurvePublicKey]) -> Receipt:
    for key in keys[:-1]:
        with suppress(ReceiptError):
            return receipts.verify(signed, key)
    return receipts.verify(signed, keys[-1])


def _store(
    session: Session,
    device: DeviceId,
    news: Sequence[tuple[Event, SlotReport | Receipt | str]],
    now: datetime,
) -> None:
    session.connection().execute(
        insert(EventRow), [_event_row(device, event, said, now) for event, said in news]
    )
    words = [said for _, said in news if not isinstance(said, str)]
    for event, said in news:
        if isinstance(said, Receipt) and isinstance(event.body, SignedReceipt):
            session.add(_receipt_row(said, event.body, now))
            log(session, _line(said, event.body, now))
            remember(session, said, now)
    latest = {said.slot: (event, said) for event, said in news if isinstance(said, SlotReport)}
    fresh = [said for event, said in latest.values() if _is_news(session, device, event, said)]
    record_slots(session, device, fresh, now)
    fold(session, device, words, now)


def _keep_keys(
    session: Session,
    device: DeviceId,
    fresh: Sequence[Receipt],
    keys: Sequence[ec.EllipticCurvePublicKey],
) -> None:
    """Beside each new receipt, the key that signed it: the device has another one tomorrow.

    A receipt has a number of its own, which is not that of the event that brings it.
    """
    session.flush()
    numbers = [each.sequence for each in fresh]
    query = select(ReceiptRow).where(
        ReceiptRow.device == device, col(ReceiptRow.sequence).in_(numbers)
    )
    for row in session.exec(query):
        signed = SignedReceipt(row.payload, row.signature)
        row.public_key = next(_spki(key) for key in keys if _signs(key, signed))
        session.add(row)


def _signs(key: ec.EllipticCurvePublicKey, signed: SignedReceipt) -> bool:
    try:
        receipts.verify(signed, key)
    except ReceiptError:
        return False
    return True


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _is_news(session: Session, device: DeviceId, event: Event, said: SlotReport) -> bool:
    """Whether it happened after what the slot is known to do: days offline are told afterwards."""
    known_slot = session.get(SlotRow, (device, said.slot))
    return known_slot is None or event.occurred_at > known_slot.reported_at - CLOCKS_DIFFER


def _event_row(
    device: DeviceId, event: Event, said: SlotReport | Receipt | str, now: datetime
) -> dict[str, Any]:
    kind, body = _kind(device, said, now)
    return {
        "device": device,
        "sequence": event.sequence,
        "occurred_at": event.occurred_at,
        "received_at": now,
        "kind": kind,
        "body": body,
    }


def _kind(
    device: DeviceId, said: SlotReport | Receipt | str, now: datetime
) -> tuple[str, dict[str, Any]]:
    match said:
        case SlotReport():
            row = rows.slot_row(device, said, now)
            return "transition", row.model_dump(exclude={"device", "reported_at"})
        case Receipt():
            return "receipt", asdict(said)
        case refused:
            return "refused", {"reason": refused}


def _line(receipt: Receipt, signed: SignedReceipt, now: datetime) -> DecisionRecord:
    """The receipt in the audit log; its payload is the evidence."""
    counts = f"{receipt.requests} requests, {receipt.errors} errors"
    detail = f"{receipt.release} in {receipt.slot}: {receipt.verdict}, {counts}"
    evidence = hashlib.sha256(signed.payload).hexdigest()
    actor = f"device {receipt.device}"
    return DecisionRecord(now, receipt.rollout, actor, "receipt", detail, evidence)


def _receipt_row(receipt: Receipt, signed: SignedReceipt, now: datetime) -> ReceiptRow:
    return ReceiptRow(
        device=receipt.device,
        sequence=receipt.sequence,
        rollout=receipt.rollout,
        slot=receipt.slot,
        release=receipt.release,
        verdict=receipt.verdict,
        requests=receipt.requests,
        errors=receipt.errors,
        fallbacks=receipt.fallbacks,
        payload=signed.payload,
        signature=signed.signature,
        received_at=now,
    )
