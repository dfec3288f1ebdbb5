"""When something may happen: schedules of devices, calendars of sites, holds."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time

from sqlalchemy import JSON, BigInteger
from sqlmodel import Field

from sealane_manager.store.tables.base import Table


class ScheduleRow(Table, table=True):
    """When the devices that a selector means may fetch and activate."""

    __tablename__ = "schedule"

    name: str = Field(primary_key=True)
    selector: str
    download: list[str] = Field(sa_type=JSON)
    activation: list[str] = Field(sa_type=JSON)
    trigger: str
    commit: str
    lease_s: int = Field(sa_type=BigInteger)
    interrupts: bool


class CalendarRow(Table, table=True):
    """When rollouts give places to the devices that a selector means."""

    __tablename__ = "calendar"

    name: str = Field(primary_key=True)
    selector: str
    zone: str
    hours: list[str] = Field(sa_type=JSON)
    freezes: list[str] = Field(sa_type=JSON)
    holidays: list[str] = Field(sa_type=JSON)


class HoldRow(Table, table=True):
    """Nothing is activated on the devices that a selector means, until a moment."""

    __tablename__ = "hold"

    id: str = Field(primary_key=True)
    selector: str
    slot: str
    owner: str
    reason: str
    until: datetime
    placed_at: datetime
