"""Samples: which are wanted, and which are here."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index
from sqlmodel import Field

from sealane_manager.store.tables.base import Table


class SampleOrderRow(Table, table=True):
    """Samples of one slot of one device are wanted until a moment."""

    __tablename__ = "sample_order"

    device: str = Field(primary_key=True, foreign_key="device.id", ondelete="CASCADE")
    slot: str = Field(primary_key=True)
    until: datetime
    by: str
    reason: str


class SampleRow(Table, table=True):
    """A sealed sample, whose bytes lie in a file of the same name."""

    __tablename__ = "sample"
    __table_args__: ClassVar[Any] = (Index(None, "taken_at"),)

    id: str = Field(primary_key=True)
    device: str
    slot: str
    release: str
    trigger: str
    taken_at: datetime
    received_at: datetime
    keep_until: datetime
    bytes: int = Field(sa_type=BigInteger)
