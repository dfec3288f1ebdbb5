"""Who may do something: users, their certified keys, sessions and tokens."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - SQLModel reads the annotations at run time
from typing import Any, ClassVar

from sqlalchemy import JSON, Index
from sqlmodel import Field

from sealane_manager.store.tables.base import Table


class UserRow(Table, table=True):
    """A person or a pipeline; without a hash there is no password."""

    __tablename__ = "local_user"

    name: str = Field(primary_key=True)
    role: str
    sites: list[str] = Field(sa_type=JSON)
    password_hash: str
    created_at: datetime
    created_by: str


class CertificateRow(Table, table=True):
    """The certified key of an operator; it outlives its user, so that it stays refused."""

    __tablename__ = "operator_certificate"
    __table_args__: ClassVar[Any] = (Index(None, "user"),)

    key: str = Field(primary_key=True)
    user: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


class UnlistedRow(Table, table=True):
    """Certificates that began before this moment were not listed yet; none or one row."""

    __tablename__ = "unlisted_certificates"

    before: datetime = Field(primary_key=True)


class LoginRow(Table, table=True):
    """An open session of a person; of its secret only the hash is kept."""

    __tablename__ = "login"
    __table_args__: ClassVar[Any] = (Index(None, "user"),)

    secret_sha256: bytes = Field(primary_key=True)
    user: str = Field(foreign_key="local_user.name", ondelete="CASCADE")
    opened_at: datetime
    used_at: datetime


class ApiTokenRow(Table, table=True):
    """What a program shows to read the API; of its secret only the hash is kept."""

    __tablename__ = "api_token"

    id: str = Field(primary_key=True)
    secret_sha256: bytes = Field(unique=True)
    purpose: str
    role: str
    sites: list[str] = Field(sa_type=JSON)
    created_at: datetime
    created_by: str
    expires_at: datetime
