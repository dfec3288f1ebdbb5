"""The keys of devices: which one counts, and the quarantine of a device that was copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.names import DeviceId

from sealane_manager.identity.succession import Key, Keys, Ruling, met, renewed
from sealane_manager.store.decisions import log
from sealane_manager.store.devices import known, owner, pass_over
from sealane_manager.store.records import DecisionRecord, Standing

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.identity.succession import Shown
    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By
    from sealane_manager.store.tables.devices import DeviceRow


class Identities:
    """Keeps each device's current and previous key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keys(self, device: DeviceId) -> Keys:
        """The keys of a device; raises NotKnown."""
        with self._database.read() as session:
            return keys_of(known(session, device))

    def judge(self, device: DeviceId, shown: Shown) -> Ruling:
        """What it means that this key is used, without writing it down; raises NotKnown."""
        return met(self.keys(device), shown)[1]

    def meet(self, device: DeviceId, shown: Shown, by: By) -> Ruling:
        """A session is opened with this key; a clone's puts the device into quarantine.

        Raises NotKnown.
        """
        if (known_keys := self.keys(device)).current == shown.key and known_keys.shown:
            return Ruling.AGAIN
        with self._database.write() as session:
            row = known(session, device)
            after, ruling = met(keys_of(row), shown)
            _keep(session, row, after, by.at)
            if ruling is Ruling.FOLLOWS:
                detail = f"device {device} has a newer key than this manager remembers"
                log(session, DecisionRecord(by.at, "", by.actor, "adopt", detail))
            _judge(session, row, ruling, by)
            return ruling

    def renew(self, device: DeviceId, shown: Shown, asked: Key, by: By) -> Ruling:
        """Somebody asks for a certificate of another key; a clone puts it into quarantine.

        Raises NotKnown.
        """
        with self._database.write() as session:
            row = known(session, device)
            if (owner(session, asked.fingerprint) or device) != device:
                return Ruling.SAME_KEY
            after, ruling = renewed(keys_of(row), shown, asked, by.at)
            _keep(session, row, after, by.at)
            if ruling is Ruling.FOLLOWS:
                detail = f"device {device}, key {asked.fingerprint}"
                log(session, DecisionRecord(by.at, "", by.actor, "renew", detail))
            _judge(session, row, ruling, by)
            return ruling


def keys_of(row: DeviceRow) -> Keys:
    """The keys in a row."""
    previous = None
    if row.previous_key and row.previous_fingerprint:
        previous = Key(row.previous_fingerprint, row.previous_key)
    return Keys(
        Key(row.key_fingerprint, row.public_key),
        previous,
        row.enrolled_at,
        row.key_since or row.enrolled_at,
        shown=row.key_shown_at is not None,
    )


def _keep(session: Session, row: DeviceRow, keys: Keys, now: datetime) -> None:
    row.key_fingerprint, row.public_key = keys.current.fingerprint, keys.current.pem
    if keys.previous:
        row.previous_fingerprint, row.previous_key = keys.previous.fingerprint, keys.previous.pem
    row.key_since = keys.since
    row.key_shown_at = (row.key_shown_at or now) if keys.shown else None
    session.add(row)


def _judge(session: Session, row: DeviceRow, ruling: Ruling, by: By) -> None:
    if ruling is not Ruling.CLONE or row.state != Standing.ACTIVE:
        return
    row.state, row.state_reason = Standing.QUARANTINED, by.reason
    session.add(row)
    pass_over(session, DeviceId(row.id), "the device is in quarantine", by.at)
    detail = f"device {row.id}: {by.reason}"
    log(session, DecisionRecord(by.at, "", by.actor, "quarantine", detail))
