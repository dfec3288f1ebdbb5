"""Lets people in whom an identity provider vouches for: begins a log-in, and ends it once."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import NotAllowed, Refused
from sealane_manager.people.provider import Attempt, Provider
from sealane_manager.people.sso import grant_of, parse_settings, user_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sealane.clock import Clock

    from sealane_manager.people.accounts import Accounts
    from sealane_manager.people.sso import SsoSettings

PATIENCE: Final = timedelta(minutes=10)
"""How long somebody may take to log in at the provider."""

ATTEMPTS: Final = 1000
"""Log-ins on their way at the same time; the oldest are forgotten."""

CODE_CHARS: Final = 4096


@dataclass(frozen=True, slots=True)
class _Begun:
    attempt: Attempt
    visitor: str
    onward: str
    at: datetime


class SignOn:
    """Log-ins by one provider; every method blocks and may be called from any thread."""

    def __init__(self, settings: SsoSettings, accounts: Accounts, clock: Clock) -> None:
        self.name = settings.name
        self._settings, self._accounts, self._clock = settings, accounts, clock
        self._provider = Provider(settings, clock)
        self._lock = threading.Lock()
        self._begun: OrderedDict[str, _Begun] = OrderedDict()

    def begin(self, visitor: str, onward: str) -> str:
        """Where the browser with this visitor's secret goes to log in; raises Unreachable."""
        attempt = Attempt(*(secrets.token_urlsafe(48) for _ in range(3)))
        address = self._provider.address(attempt)
        with self._lock:
            self._begun[attempt.state] = _Begun(attempt, visitor, onward, self._clock.now())
            while len(self._begun) > ATTEMPTS:
                self._begun.popitem(last=False)
        return address

    def finish(self, visitor: str, state: str, code: str) -> tuple[str, str]:
        """The secret of a new session, and where to go on; raises NotAllowed or Unreachable."""
        begun = self._taken(state)
        if not begun or not visitor or not hmac.compare_digest(begun.visitor, visitor):
            raise NotAllowed("this log-in did not begin in this browser", hint="log in again")
        if not code:
            raise NotAllowed("the identity provider let nobody in", hint="log in again")
        claims = self._provider.claims(code[:CODE_CHARS], begun.attempt)
        user, grant = user_of(claims, self._settings), grant_of(claims, self._settings)
        return self._accounts.vouched(user, grant), begun.onward

    def _taken(self, state: str) -> _Begun | None:
        """The log-in of this state, which can be ended once."""
        with self._lock:
            begun = self._begun.pop(state, None)
        return begun if begun and self._clock.now() - begun.at <= PATIENCE else None


def load(path: Path) -> SsoSettings | None:
    """What sso.json says, None when there is no such file; raises Refused or InvalidName."""
    if not path.exists():
        return None
    try:
        return parse_settings(json.loads(path.read_bytes()))
    except ValueError as error:
        raise Refused(f"{path} cannot be read: {error}", hint="see docs/sso.md") from error
