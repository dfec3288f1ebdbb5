"""Devices: how they joined, what they are called, what runs on them and what they said."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field

from sealane_manager.store.tables.base import Table


class JoinTokenRow(Table, table=True):
    """A join token; the secret itself is never stored."""

    __tablename__ = "join_token"

    id: str = Field(primary_key=True)
    secret_sha256: bytes
    labels: dict[str, str] = Field(sa_type=JSON)
    uses_left: int = Field(sa_type=BigInteger)
    expires_at: datetime
    issued_at: datetime
    issued_by: str
    approval: bool = False


class TokenUseRow(Table, table=True):
    """Which key used which token, so that the same machine may ask again."""

    __tablename__ = "token_use"

    token: str = Field(primary_key=True, foreign_key="join_token.id", ondelete="CASCADE")
    key_fingerprint: str = Field(primary_key=True)
    used_at: datetime


class DeviceRow(Table, table=True):
    """A device."""

    __tablename__ = "device"

    id: str = Field(primary_key=True)
    name: str
    state: str
    state_reason: str = ""
    public_key: bytes
    key_fingerprint: str = Field(unique=True)
    previous_key: bytes | None = None
    previous_fingerprint: str | None = Field(default=None, index=True)
    key_since: datetime | None = None
    key_shown_at: datetime | None = None
    certificate_expires: datetime | None = None
    token: str
    enrolled_at: datetime
    agent_version: str = ""
    boot_id: str = ""
    facts: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    last_seen: datetime | None = None
    acked_sequence: int = Field(default=0, sa_type=BigInteger)
    generation: int = Field(default=0, sa_type=BigInteger)
    document_version: int = Field(default=0, sa_type=BigInteger)


class LabelRow(Table, table=True):
    """One label of one device; ordered so that a selector is an index look-up."""

    __tablename__ = "device_label"
    __table_args__: ClassVar[Any] = (Index(None, "device"), {"sqlite_with_rowid": False})

    key: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")


class SlotRow(Table, table=True):
    """What a slot of a device did when it was last heard."""

    __tablename__ = "slot_report"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    state: str
    active_release: str
    lkg_release: str
    attempt_release: str
    rollout: str
    failure: dict[str, str] | None = Field(default=None, sa_type=JSON)
    degraded: str = ""
    chosen: str = ""
    reported_at: datetime


class EventRow(Table, table=True):
    """One event of a device's outbox, as it arrived."""

    __tablename__ = "event"
    __table_args__: ClassVar[Any] = (Index(None, "received_at"),)

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    occurred_at: datetime
    received_at: datetime
    kind: str
    body: dict[str, Any] = Field(sa_type=JSON)


class ReceiptRow(Table, table=True):
    """A receipt whose signature was checked, with the bytes that prove it."""

    __tablename__ = "receipt"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    rollout: str = Field(index=True)
    slot: str
    release: str = Field(index=True)
    verdict: str
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    fallbacks: int = Field(sa_type=BigInteger)
    payload: bytes
    signature: bytes
    public_key: bytes = b""
    received_at: datetime


class WinnerRow(Table, table=True):
    """The variant of a bundle that won on a class of hardware, as a receipt said last."""

    __tablename__ = "winner"

    manifest: str = Field(primary_key=True)
    hardware: str = Field(primary_key=True)
    device: str = Field(foreign_key="device.id", ondelete="CASCADE")
    variant: str
    latency_us: int = Field(sa_type=BigInteger)
    told_at: datetime
