"""The certificates of operators: whose they are, until when, and which are worth nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.people.access import Grant, Role
from sealane_manager.store.accounts import grant_of, revoke_of, say
from sealane_manager.store.records import By, OperatorCertificate
from sealane_manager.store.tables.people import CertificateRow, UnlistedRow, UserRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.store.database import Database

ADMINISTRATOR = Grant(Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Held:
    """A certificate with what its user may do now; nothing once the user is removed."""

    certificate: OperatorCertificate
    grant: Grant | None


class Certificates:
    """Keeps who may call the operators' port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def issue(self, made: OperatorCertificate, grant: Grant | None, by: By) -> None:
        """Keep a certificate of a user, who begins with this role when there is none of the name.

        Raises NotKnown when there is no such user and no role, and Refused when the user has
        another role, or the key is somebody else's or was revoked.
        """
        with self._database.write() as session:
            _keep(session, made, grant, by)

    def adopt(self, made: OperatorCertificate, by: By) -> None:
        """Keep the certificate of an administrator, unless its key is known."""
        with self._database.write() as session:
            if session.get(CertificateRow, made.key) is None:
                known = session.get(UserRow, made.user)
                _keep(session, made, None if known else ADMINISTRATOR, by)

    def admit(self, made: OperatorCertificate, by: By) -> bool:
        """Keep a certificate from before certificates were listed; False: it is not from then."""
        with self._database.write() as session:
            before = session.exec(select(UnlistedRow.before)).first()
            if before is None or made.issued_at >= before:
                return False
            if session.get(CertificateRow, made.key) is None:
                known = session.get(UserRow, made.user)
                _keep(session, made, None if known else ADMINISTRATOR, by)
            return True

    def settle(self, by: By) -> bool:
        """Let none in any more that is from before they were listed; False: none was."""
        with self._database.write() as session:
            found = session.connection().execute(delete(UnlistedRow)).rowcount
            if found:
                say(session, by, "settle certificates", "those that are not listed count no more")
            return bool(found)

    def unlisted_before(self) -> datetime | None:
        """Certificates that began before this moment are let in though they are not listed."""
        with self._database.read() as session:
            return session.exec(select(UnlistedRow.before)).first()

    def held(self, key: str) -> Held | None:
        """A certificate with its user's role of now, or None."""
        query = (
            select(CertificateRow, UserRow)
            .outerjoin(UserRow, col(UserRow.name) == col(CertificateRow.user))
            .where(CertificateRow.key == key)
        )
        with self._database.read() as session:
            found = session.exec(query).first()
            if not found:
                return None
            row, user = found
            return Held(_certificate(row), grant_of(user) if user else None)

    def list(self) -> tuple[OperatorCertificate, ...]:
        """Every certificate, by user and the newest first."""
        query = select(CertificateRow).order_by(
            CertificateRow.user, col(CertificateRow.issued_at).desc()
        )
        with self._database.read() as session:
            return tuple(_certificate(row) for row in session.exec(query))

    def revoke(self, user: str, beginning: str, by: By) -> int:
        """Refuse a user's certificates whose key begins so; how many. Raises NotKnown."""
        with self._database.write() as session:
            found = revoke_of(session, user, by.at, beginning)
            if not found:
                raise NotKnown(
                    f"{user[:64]} has no such certificate that counts",
                    hint="see `sealane operator list`",
                )
            for key in found:
                say(session, by, "revoke certificate", f"key {key} of operator {user}")
            return len(found)


def _keep(session: Session, made: OperatorCertificate, grant: Grant | None, by: By) -> None:
    _check_key(session.get(CertificateRow, made.key), made)
    user = session.get(UserRow, made.user) or _begin(session, made.user, grant, by)
    if grant and grant != grant_of(user):
        raise Refused(
            f"{user.name} is {grant_of(user)}",
            hint=f"change it first: sealane user role {user.name} {grant.role}",
        )
    session.merge(
        CertificateRow(
            key=made.key,
            user=made.user,
            issued_at=made.issued_at,
            issued_by=made.issued_by,
            expires_at=made.expires_at,
        )
    )
    until = f"until {made.expires_at:%Y-%m-%d}"
    detail = f"key {made.key} of operator {made.user}, {grant_of(user)}, {until}"
    say(session, by, "list certificate", detail)


def _check_key(known: CertificateRow | None, made: OperatorCertificate) -> None:
    if known and known.revoked_at:
        raise Refused("the certificate of this key was revoked", hint="make a new key")
    if known and known.user != made.user:
        raise Refused(f"this key is {known.user}'s", hint="everybody has a key of their own")


def _begin(session: Session, name: str, grant: Grant | None, by: By) -> UserRow:
    if grant is None:
        raise NotKnown(f"there is no user {name[:64]}", hint="say what the user may do: --role")
    user = UserRow(
        name=name,
        role=grant.role,
        sites=sorted(grant.sites),
        password_hash="",
        created_at=by.at,
        created_by=by.actor,
    )
    session.add(user)
    say(session, by, "add user", f"user {name} as {grant}")
    return user


def _certificate(row: CertificateRow) -> OperatorCertificate:
    return OperatorCertificate(
        row.key, row.user, row.issued_at, row.issued_by, row.expires_at, row.revoked_at
    )
