"""Alerts, silences, and notices on their way."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Index
from sqlmodel import Field

from sealane_manager.store.tables.base import Table


class AlertRow(Table, table=True):
    """One thing that is wrong, or was."""

    __tablename__ = "alert"
    __table_args__: ClassVar[Any] = (Index(None, "state"),)

    rule: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    site: str
    severity: str
    text: str
    state: str
    since: datetime
    seen: datetime
    told: bool
    ended: datetime | None = None
    by: str = ""
    count: int = Field(default=0, sa_type=BigInteger)


class SilenceRow(Table, table=True):
    """Nobody is told of matching alerts until it ends."""

    __tablename__ = "alert_silence"

    id: str = Field(primary_key=True)
    rule: str
    site: str
    subject: str
    until: datetime
    by: str
    reason: str


class DeliveryRow(Table, table=True):
    """A notice that waits for its channel, or what became of it."""

    __tablename__ = "alert_delivery"
    __table_args__: ClassVar[Any] = (Index(None, "state", "next_try"),)

    id: str = Field(primary_key=True)
    channel: str
    headline: str
    content: dict[str, Any] = Field(sa_type=JSON)
    state: str
    made_at: datetime
    next_try: datetime
    tries: int = 0
    problem: str = ""
