"""Lets people and programs in: passwords (argon2), sessions and API tokens.

Every method blocks; hashing a password takes a tenth of a second and 64 MiB on purpose.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sealane.errors import InvalidName

from sealane_manager.errors import NotAllowed, Refused
from sealane_manager.people.access import (
    FREE_TRIES,
    PASSWORD_CHARS,
    SESSION_IDLE,
    SESSION_LIFE,
    Grant,
    Who,
    check_password,
    parse_user,
    session_is_over,
    wait_until,
)
from sealane_manager.store.records import ApiToken, By, User

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.clock import Clock

    from sealane_manager.store.accounts import Accounts as Kept

HASHING_AT_ONCE: Final = 2
"""Passwords hashed at the same time: each takes 64 MiB."""

REMEMBERED_FAILURES: Final = 10_000
"""Names and addresses whose wrong passwords are remembered."""

USED_EVERY: Final = timedelta(minutes=1)
"""A session's use is written down at most so often."""

TOKEN_PREFIX: Final = "sla_"  # noqa: S105 - how an API token begins, no secret
MAX_TOKEN_LIFE: Final = timedelta(days=366)
PURPOSE_CHARS: Final = 80
SECRET_CHARS: Final = 128
"""Longest secret that is looked up; ours have 43 characters and a prefix."""

NAME_CHARS: Final = 64
"""Longest name of a user."""

_FAILURES_KEPT: Final = 20


class Accounts:
    """Who may come in, by what the store keeps."""

    def __init__(self, kept: Kept, clock: Clock, hasher: PasswordHasher | None = None) -> None:
        self.kept, self._clock = kept, clock
        self._hasher = hasher or PasswordHasher()
        self._hashing = threading.Semaphore(HASHING_AT_ONCE)
        self._nobody = ""
        self._failures = Failures()

    def log_in(self, name: str, password: str, address: str) -> str:
        """The secret of a new session; raises NotAllowed, and makes guessers wait."""
        now, keys = self._clock.now(), _keys(name, address)
        self._failures.check(keys, now)
        if not self._matches(self.kept.user(name[:NAME_CHARS]), password):
            self._failures.add(keys, now)
            raise NotAllowed("the name or the password is wrong")
        self._failures.forget(keys[0])
        return self._open(name, now)

    def vouched(self, name: str, grant: Grant) -> str:
        """The secret of a new session of somebody whom an identity provider vouches for."""
        now = self._clock.now()
        self.kept.vouch(name, grant, By("single sign-on", "", now))
        return self._open(name, now)

    def _open(self, name: str, now: datetime) -> str:
        secret = secrets.token_urlsafe(32)
        self.kept.open_session(_sha256(secret), name, now)
        return secret

    def who(self, secret: str) -> Who | None:
        """Whose session this is, or None when it is over."""
        if not 0 < len(secret) <= SECRET_CHARS:
            return None
        now, digest = self._clock.now(), _sha256(secret)
        found = self.kept.session(digest)
        if not found or session_is_over(found.opened_at, found.used_at, now):
            return None
        if now - found.used_at > USED_EVERY:
            self.kept.use_session(digest, now)
        return Who(found.user, found.grant.role, found.grant.sites)

    def log_out(self, secret: str) -> None:
        """End a session."""
        self.kept.close_session(_sha256(secret))

    def add_user(self, name: str, grant: Grant, password: str, actor: str) -> None:
        """A new user; raises InvalidName or Refused."""
        check_password(password)
        now = self._clock.now()
        user = User(parse_user(name), grant, self._hash(password), now)
        self.kept.add_user(user, By(actor, "", now))

    def set_password(self, name: str, password: str, actor: str) -> None:
        """Another password, and no session any more; raises InvalidName, NotKnown or Refused."""
        check_password(password)
        user = self.kept.user(name)
        if user and not user.local:
            raise Refused(f"{name} logs in with the identity provider", hint="change it there")
        self.kept.set_password(name, self._hash(password), By(actor, "", self._clock.now()))

    def confirm(self, name: str, password: str, address: str) -> None:
        """Raise NotAllowed unless this is the user's password now."""
        now, keys = self._clock.now(), _keys(name, address)
        self._failures.check(keys, now)
        if not self._matches(self.kept.user(name), password):
            self._failures.add(keys, now)
            raise NotAllowed("the password is wrong")

    def issue_token(self, purpose: str, grant: Grant, days: int, actor: str) -> str:
        """A new API token, as it is shown once; raises InvalidName."""
        life = timedelta(days=days)
        if not timedelta(0) < life <= MAX_TOKEN_LIFE:
            raise InvalidName(f"an API token lives 1 to {MAX_TOKEN_LIFE.days} days, not {days}")
        if not 0 < len(purpose) <= PURPOSE_CHARS:
            raise InvalidName(f"say what the token is for in 1 to {PURPOSE_CHARS} characters")
        now, secret = self._clock.now(), TOKEN_PREFIX + secrets.token_urlsafe(32)
        token = ApiToken(f"k-{secrets.token_hex(4)}", purpose, grant, now, actor, now + life)
        self.kept.add_token(token, _sha256(secret), By(actor, "", now))
        return secret

    def bearer(self, secret: str) -> Who | None:
        """Whose API token this is, or None."""
        if not secret.startswith(TOKEN_PREFIX) or len(secret) > SECRET_CHARS:
            return None
        found = self.kept.token(_sha256(secret))
        if not found or self._clock.now() >= found.expires_at:
            return None
        return Who(f"token {found.id}", found.grant.role, found.grant.sites)

    def prune(self, now: datetime) -> int:
        """Forget sessions that are over; returns how many."""
        return self.kept.prune_sessions(now - SESSION_LIFE, now - SESSION_IDLE)

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _matches(self, user: User | None, password: str) -> bool:
        """Whether it is the user's password; takes as long when there is no such user."""
        if len(password) > PASSWORD_CHARS[1]:
            return False
        if not self._nobody:
            self._nobody = self._hash(secrets.token_urlsafe(32))
        try:
            with self._hashing:
                right = self._hasher.verify(user.password_hash if user else self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return right and user is not None


class Failures:
    """Wrong passwords of the last minutes, in memory and bounded.

    They are counted for an address, and for a name at an address: never for a name alone, so that
    nobody can lock somebody else out.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: OrderedDict[str, deque[datetime]] = OrderedDict()

    def check(self, keys: tuple[str, ...], now: datetime) -> None:
        """Raise NotAllowed while one of these must wait."""
        with self._lock:
            until = max(wait_until(tuple(self._moments.get(key, ())), now) for key in keys)
        if until > now:
            seconds = max(1, round((until - now).total_seconds()))
            raise NotAllowed(
                f"there were more than {FREE_TRIES - 1} wrong passwords",
                hint=f"wait {seconds} s and try again",
            )

    def add(self, keys: tuple[str, ...], now: datetime) -> None:
        """Remember a wrong password."""
        with self._lock:
            for key in keys:
                self._moments.setdefault(key, deque(maxlen=_FAILURES_KEPT)).append(now)
                self._moments.move_to_end(key)
            while len(self._moments) > REMEMBERED_FAILURES:
                self._moments.popitem(last=False)

    def forget(self, key: str) -> None:
        """Forget what somebody did wrong who then came in."""
        with self._lock:
            self._moments.pop(key, None)


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _keys(name: str, address: str) -> tuple[str, str]:
    return f"{name[:NAME_CHARS]} from {address}", f"from {address}"
