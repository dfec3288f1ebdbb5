"""Rollouts: what devices shall run, who is a member, what gates said, what is forbidden."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field

from sealane_manager.store.tables.base import RowId, Table


class DesiredRow(Table, table=True):
    """What the director wants in one slot of one device."""

    __tablename__ = "desired"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    rollout: str = ""
    lease_expires: datetime | None = None


class KitRow(Table, table=True):
    """What one kit brings to one device; adopted once the device took it up."""

    __tablename__ = "kit"

    id: str = Field(primary_key=True)
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    version: int = Field(sa_type=BigInteger)
    slot: str
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    until: datetime
    adopted_at: datetime | None = None


class RolloutRow(Table, table=True):
    """A rollout."""

    __tablename__ = "rollout"

    id: str = Field(primary_key=True)
    release: str
    manifest: str
    length: int = Field(sa_type=BigInteger)
    slot: str
    selector: str
    stages: list[str] = Field(sa_type=JSON)
    soak_us: int = Field(sa_type=BigInteger)
    max_failed: int = Field(sa_type=BigInteger)
    max_failed_percent: int
    silent_after_us: int = Field(sa_type=BigInteger)
    min_requests: int = Field(sa_type=BigInteger)
    by_evidence: bool = False
    checks: dict[str, Any] = Field(sa_type=JSON)
    on_failure: str
    terms: dict[str, Any] = Field(sa_type=JSON)
    author: str = ""
    approvals: list[dict[str, str]] = Field(default_factory=list, sa_type=JSON)
    began_at: datetime | None = None
    stage_since: datetime | None = None
    name: str = Field(default="", index=True)
    asked: list[str] = Field(default_factory=list, sa_type=JSON)
    state: str = Field(index=True)
    stage: int
    phase: str
    phase_since: datetime
    reason: str
    created_at: datetime
    ended_at: datetime | None = None


class RolloutDeviceRow(Table, table=True):
    """One device in a rollout, and what it had before."""

    __tablename__ = "rollout_device"
    __table_args__: ClassVar[Any] = (
        Index(None, "device"),
        Index(None, "rollout", "position", "stage", "state", "previous"),
    )

    rollout: str = Field(primary_key=True, foreign_key="rollout.id", ondelete="CASCADE")
    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    position: int = Field(sa_type=BigInteger)
    stage: int
    state: str
    detail: str
    requests: int = Field(default=0, sa_type=BigInteger)
    acknowledged: bool = False
    served: bool = False
    held: bool = False
    attempt: int = 0
    failure: str | None = None
    retry_at: datetime | None = None
    promoted: bool = False
    changed_at: datetime
    previous: str | None = None
    previous_manifest: str | None = None
    previous_length: int | None = Field(default=None, sa_type=BigInteger)


class JudgementRow(Table, table=True):
    """What a gate said, and all that it saw when it said it; only ever added."""

    __tablename__ = "judgement"

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    rollout: str = Field(index=True, foreign_key="rollout.id", ondelete="CASCADE")
    at: datetime
    stage: int
    verdict: str
    reason: str
    inputs: bytes


class QuarantineRow(Table, table=True):
    """A release that shall serve nowhere any more, by the digest of its manifest."""

    __tablename__ = "quarantine"

    manifest: str = Field(primary_key=True)
    release: str
    at: datetime
    actor: str
    reason: str
    stops: bool = False
