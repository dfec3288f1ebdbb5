"""Users, their sessions, and API tokens: of every secret only a hash is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, or_, update
from sqlmodel import col, select

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.people.access import Grant, Role
from sealane_manager.store.decisions import log
from sealane_manager.store.records import ApiToken, DecisionRecord, OpenSession, User
from sealane_manager.store.tables.people import ApiTokenRow, CertificateRow, LoginRow, UserRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import By


class Accounts:
    """Keeps who may log in and what calls the API."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_user(self, user: User, by: By) -> None:
        """Keep a new user; raises Refused when the name is taken."""
        with self._database.write() as session:
            if session.get(UserRow, user.name):
                raise Refused(
                    f"there is a user {user.name} already",
                    hint=f"give a new password with: sealane user password {user.name}",
                )
            session.add(
                UserRow(
                    name=user.name,
                    role=user.grant.role,
                    sites=sorted(user.grant.sites),
                    password_hash=user.password_hash,
                    created_at=user.created_at,
                    created_by=by.actor,
                )
            )
            say(session, by, "add user", f"user {user.name} as {user.grant}")

    def users(self) -> tuple[User, ...]:
        """Every user, by name."""
        with self._database.read() as session:
            found = session.exec(select(UserRow).order_by(UserRow.name))
            return tuple(_user(row) for row in found)

    def user(self, name: str) -> User | None:
        """One user, or None."""
        with self._database.read() as session:
            row = session.get(UserRow, name)
            return _user(row) if row else None

    def set_grant(self, name: str, grant: Grant, by: By) -> None:
        """Give another role; raises NotKnown, or Refused when no local admin would be left."""
        with self._database.write() as session:
            row = _known(session, name)
            if grant.role is not Role.ADMIN:
                _keep_an_admin(session, row)
            _regrant(session, row, grant, by)

    def vouch(self, name: str, grant: Grant, by: By) -> None:
        """Somebody whom an identity provider knows: a user without a password, with this role."""
        with self._database.write() as session:
            row = session.get(UserRow, name)
            if row:
                _regrant(session, row, grant, by)
                return
            session.add(
                UserRow(
                    name=name,
                    role=grant.role,
                    sites=sorted(grant.sites),
                    password_hash="",
                    created_at=by.at,
                    created_by=by.actor,
                )
            )
            say(session, by, "add user", f"user {name} as {grant}")

    def set_password(self, name: str, password_hash: str, by: By) -> None:
        """Give another password and end every session; raises NotKnown."""
        with self._database.write() as session:
            row = _known(session, name)
            row.password_hash = password_hash
            session.add(row)
            session.connection().execute(delete(LoginRow).where(col(LoginRow.user) == name))
            say(session, by, "change password", f"user {name}")

    def remove_user(self, name: str, by: By) -> None:
        """Forget a user; raises NotKnown, or Refused when no admin would be left."""
        with self._database.write() as session:
            row = _known(session, name)
            _keep_an_admin(session, row)
            session.delete(row)
            revoke_of(session, name, by.at)  # for good, also if somebody gets the name again
            say(session, by, "remove user", f"user {name}")

    def open_session(self, secret_sha256: bytes, user: str, now: datetime) -> None:
        """Keep a new session, and write down that the user logged in."""
        with self._database.write() as session:
            session.add(
                LoginRow(secret_sha256=secret_sha256, user=user, opened_at=now, used_at=now)
            )
            log(session, DecisionRecord(now, "", user, "log in", "on the dashboard"))

    def session(self, secret_sha256: bytes) -> OpenSession | None:
        """A session with its user as he is now, or None."""
        query = (
            select(LoginRow, UserRow)
            .join(UserRow, col(UserRow.name) == col(LoginRow.user))
            .where(LoginRow.secret_sha256 == secret_sha256)
        )
        with self._database.read() as session:
            found = session.exec(query).first()
            if not found:
                return None
            row, user = found
            return OpenSession(user.name, grant_of(user), row.opened_at, row.used_at)

    def use_session(self, secret_sha256: bytes, now: datetime) -> None:
        """Remember that a session was used."""
        with self._database.write() as session:
            row = session.get(LoginRow, secret_sha256)
            if row:
                row.used_at = now
                session.add(row)

    def close_session(self, secret_sha256: bytes) -> None:
        """End a session; does nothing when there is none."""
        with self._database.write() as session:
            session.connection().execute(
                delete(LoginRow).where(col(LoginRow.secret_sha256) == secret_sha256)
            )

    def prune_sessions(self, opened_before: datetime, used_before: datetime) -> int:
        """Forget sessions that are over; returns how many."""
        over = or_(col(LoginRow.opened_at) < opened_before, col(LoginRow.used_at) < used_before)
        with self._database.write() as session:
            return session.connection().execute(delete(LoginRow).where(over)).rowcount

    def add_token(self, token: ApiToken, secret_sha256: bytes, by: By) -> None:
        """Keep a new API token."""
        with self._database.write() as session:
            session.add(
                ApiTokenRow(
                    id=token.id,
                    secret_sha256=secret_sha256,
                    purpose=token.purpose,
                    role=token.grant.role,
                    sites=sorted(token.grant.sites),
                    created_at=token.created_at,
                    created_by=by.actor,
                    expires_at=token.expires_at,
                )
            )
            detail = f"API token {token.id} ({token.purpose}) as {token.grant}"
            until = f"until {token.expires_at.isoformat(timespec='seconds')}"
            say(session, by, "add token", f"{detail} {until}")

    def tokens(self) -> tuple[ApiToken, ...]:
        """Every API token, the newest first."""
        query = select(ApiTokenRow).order_by(col(ApiTokenRow.created_at).desc(), ApiTokenRow.id)
        with self._database.read() as session:
            return tuple(_token(row) for row in session.exec(query))

    def token(self, secret_sha256: bytes) -> ApiToken | None:
        """The token with this secret, or None."""
        query = select(ApiTokenRow).where(ApiTokenRow.secret_sha256 == secret_sha256)
        with self._database.read() as session:
            row = session.exec(query).first()
            return _token(row) if row else None

    def remove_token(self, token: str, by: By) -> None:
        """Forget an API token; raises NotKnown."""
        with self._database.write() as session:
            row = session.get(ApiTokenRow, token)
            if not row:
                raise NotKnown(f"there is no API token {token[:40]}")
            session.delete(row)
            say(session, by, "remove token", f"API token {token} ({row.purpose})")


def revoke_of(session: Session, user: str, now: datetime, beginning: str = "") -> tuple[str, ...]:
    """Let no certificate of a user count whose key begins so; the keys of those that did."""
    which = (
        col(CertificateRow.user) == user,
        col(CertificateRow.revoked_at).is_(None),
        col(CertificateRow.key).startswith(beginning, autoescape=True),
    )
    keys = tuple(session.exec(select(CertificateRow.key).where(*which)))
    session.connection().execute(update(CertificateRow).where(*which).values(revoked_at=now))
    return keys


def _known(session: Session, name: str) -> UserRow:
    row = session.get(UserRow, name)
    if not row:
        raise NotKnown(f"there is no user {name[:64]}", hint="see `sealane user list`")
    return row


def _keep_an_admin(session: Session, row: UserRow) -> None:
    if row.role != Role.ADMIN:
        return
    local = (UserRow.role == str(Role.ADMIN), UserRow.password_hash != "", UserRow.name != row.name)
    others = select(func.count()).select_from(UserRow).where(*local)
    if row.password_hash and not session.exec(others).one():
        raise Refused(
            f"{row.name} is the only admin with a password", hint="make another user admin first"
        )


def say(session: Session, by: By, action: str, detail: str) -> None:
    """Write into the log what was done with users, and why."""
    why = f": {by.reason}" if by.reason else ""
    log(session, DecisionRecord(by.at, "", by.actor, action, detail + why))


def _regrant(session: Session, row: UserRow, grant: Grant, by: By) -> None:
    before = grant_of(row)
    if grant == before:
        return
    say(session, by, "change user", f"user {row.name} from {before} to {grant}")
    row.role, row.sites = grant.role, sorted(grant.sites)
    session.add(row)


def grant_of(row: UserRow | ApiTokenRow) -> Grant:
    """What a user or a token may do."""
    return Grant(Role(row.role), frozenset(row.sites))


def _user(row: UserRow) -> User:
    return User(row.name, grant_of(row), row.password_hash, row.created_at)


def _token(row: ApiTokenRow) -> ApiToken:
    return ApiToken(
        row.id, row.purpose, grant_of(row), row.created_at, row.created_by, row.expires_at
    )
