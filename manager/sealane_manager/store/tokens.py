"""Join tokens: a secret that makes a machine a device, so many times, until it expires."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from sealane.names import DeviceId
from sqlalchemy import delete
from sqlmodel import col, select

from sealane_manager.errors import Refused
from sealane_manager.store.decisions import log
from sealane_manager.store.records import DecisionRecord, Redeemed, Standing
from sealane_manager.store.tables.devices import DeviceRow, JoinTokenRow, TokenUseRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import IssuedToken

_NEW_TOKEN = "make a new one: sealane device token"  # noqa: S105 - a hint, not a secret
_NOBODY = bytes(32)


class Tokens:
    """Issues and redeems join tokens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, token: IssuedToken) -> None:
        """Keep a new token."""
        with self._database.write() as session:
            session.add(
                JoinTokenRow(
                    id=token.id,
                    secret_sha256=token.secret_sha256,
                    labels=dict(token.labels),
                    uses_left=token.uses,
                    expires_at=token.expires_at,
                    issued_at=token.issued_at,
                    issued_by=token.issued_by,
                    approval=token.approval,
                )
            )
            detail = f"{token.uses} uses until {token.expires_at.isoformat(timespec='seconds')}"
            log(session, DecisionRecord(token.issued_at, "", token.issued_by, "token", detail))

    def redeem(self, token_id: str, secret: str, key_fingerprint: str, now: datetime) -> Redeemed:
        """Use the token once for this key; the same key may ask again and uses nothing up.

        Raises Refused when the token is unknown, wrong, expired or used up, and when the key
        belongs to a device that was revoked or is in quarantine.
        """
        with self._database.write() as session:
            row = _checked(session.get(JoinTokenRow, token_id), secret)
            device = session.exec(
                select(DeviceRow).where(DeviceRow.key_fingerprint == key_fingerprint)
            ).first()
            if device:
                waits = device.state == Standing.PENDING
                name = DeviceId(device.id) if waits else _active(device)
                return Redeemed(dict(row.labels), name, waits)
            _use(session, row, key_fingerprint, now)
            return Redeemed(dict(row.labels), None, row.approval)

    def prune(self, before: datetime) -> int:
        """Forget tokens that expired before a moment; returns how many."""
        with self._database.write() as session:
            gone = session.connection().execute(
                delete(JoinTokenRow).where(col(JoinTokenRow.expires_at) < before)
            )
            return gone.rowcount


def _checked(row: JoinTokenRow | None, secret: str) -> JoinTokenRow:
    got = hashlib.sha256(secret.encode()).digest()
    same = hmac.compare_digest(got, row.secret_sha256 if row else _NOBODY)
    if not (row and same):
        raise Refused("this manager knows no such join token", hint=_NEW_TOKEN)
    return row


def _active(device: DeviceRow) -> DeviceId:
    if device.state != Standing.ACTIVE:
        raise Refused(
            f"device {device.id} was {device.state}", hint="enrol it again with a new key and token"
        )
    return DeviceId(device.id)


def _use(session: Session, row: JoinTokenRow, key_fingerprint: str, now: datetime) -> None:
    if session.get(TokenUseRow, (row.id, key_fingerprint)):
        return
    if row.expires_at <= now:
        when = row.expires_at.isoformat(timespec="seconds")
        raise Refused(f"this join token expired at {when}", hint=_NEW_TOKEN)
    if row.uses_left < 1:
        raise Refused("this join token has been used up", hint=_NEW_TOKEN)
    row.uses_left -= 1
    session.add(row)
    session.add(TokenUseRow(token=row.id, key_fingerprint=key_fingerprint, used_at=now))
