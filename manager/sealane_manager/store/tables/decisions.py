"""The decision log and the hashes of the tree over it."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import BigInteger
from sqlmodel import Field

from sealane_manager.store.tables.base import RowId, Table


class DecisionRow(Table, table=True):
    """One line of the decision log; only ever added."""

    __tablename__ = "decision"

    id: int | None = Field(default=None, primary_key=True, sa_type=RowId)
    leaf: int = Field(unique=True, sa_type=BigInteger)
    at: datetime
    rollout: str = Field(index=True)
    actor: str
    action: str
    detail: str
    evidence: str = ""


class AuditNodeRow(Table, table=True):
    """The hash of one complete subtree over the decision log; only ever added."""

    __tablename__ = "audit_node"
    __table_args__: ClassVar[Any] = ({"sqlite_with_rowid": False},)

    level: int = Field(primary_key=True, sa_type=BigInteger)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    hash: bytes


class AuditHeadRow(Table, table=True):
    """The one row that says how far the tree over the decision log has grown."""

    __tablename__ = "audit_head"

    id: int = Field(primary_key=True)
    epoch: int = Field(sa_type=BigInteger)
    size: int = Field(sa_type=BigInteger)
    peaks: bytes
