"""Decides who may do what, on the dashboard, in the API and over gRPC, and for how long. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import parse_label, parse_operator

from sealane_manager.errors import NotAllowed
from sealane_manager.rollout.types import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


class Role(StrEnum):
    """What somebody may do; each role may also do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


class Act(StrEnum):
    """What can be asked for."""

    LOOK = "look"
    START = "start a rollout"
    STEER = "pause, resume, abort or revert a rollout"
    PROMOTE = "promote a rollout before its time"
    APPROVE = "approve a rollout"
    LABEL = "label a device"
    TEND = "acknowledge or silence an alert"
    QUARANTINE = "put a device into quarantine"
    HOLD = "hold a device back or release it"
    KILL = "put a release into quarantine"
    LIFT = "lift the quarantine of a release"
    READMIT = "readmit a device from quarantine"
    REVOKE = "revoke a device"
    SUBMIT = "upload bundles and submit signed metadata"
    CARRY = "export a kit"
    INVITE = "make a join token"
    ADMIT = "admit a device that waits for approval"
    ADOPT = "adopt a device that is not known"
    SCHEDULE = "set when devices may fetch and activate"
    SAMPLE = "order, open or delete samples of inputs"
    WITHDRAW = "withdraw a change that waits for signatures"
    AUDIT = "read the audit log and the evidence of rollouts"
    DECLARE = "declare that entries of the audit log were lost"
    ADMINISTER = "manage users, tokens and channels"


NEEDS: Final[Mapping[Act, Role]] = {
    Act.LOOK: Role.VIEWER,
    Act.START: Role.OPERATOR,
    Act.STEER: Role.OPERATOR,
    Act.LABEL: Role.OPERATOR,
    Act.TEND: Role.OPERATOR,
    Act.QUARANTINE: Role.OPERATOR,
    Act.HOLD: Role.OPERATOR,
    Act.KILL: Role.OPERATOR,
    Act.LIFT: Role.APPROVER,
    Act.PROMOTE: Role.APPROVER,
    Act.APPROVE: Role.APPROVER,
    Act.READMIT: Role.APPROVER,
    Act.REVOKE: Role.APPROVER,
    Act.SUBMIT: Role.OPERATOR,
    Act.CARRY: Role.OPERATOR,
    Act.INVITE: Role.APPROVER,
    Act.ADMIT: Role.APPROVER,
    Act.ADOPT: Role.APPROVER,
    Act.SCHEDULE: Role.APPROVER,
    Act.SAMPLE: Role.APPROVER,
    Act.WITHDRAW: Role.APPROVER,
    Act.AUDIT: Role.VIEWER,
    Act.DECLARE: Role.ADMIN,
    Act.ADMINISTER: Role.ADMIN,
}
"""The lowest role that may do it."""

OPERATIONS: Final[Mapping[Operation, Act]] = {
    Operation.PAUSE: Act.STEER,
    Operation.RESUME: Act.STEER,
    Operation.APPROVE: Act.APPROVE,
    Operation.WRITE_OFF: Act.STEER,
    Operation.PROMOTE: Act.PROMOTE,
    Operation.ABORT: Act.STEER,
    Operation.REVERT: Act.STEER,
}
"""What each operation on a rollout is."""

SINGLE_SIGN_ON: Final = "sso:"
"""Begins the name of everybody whom an identity provider vouches for: no local user has it."""

SESSION_IDLE: Final = timedelta(hours=8)
"""A session that nobody used for so long is over: a shift."""

SESSION_LIFE: Final = timedelta(hours=24)
"""A session ends after so long, however busy it was."""

PASSWORD_CHARS: Final = (12, 1024)
"""Fewest and most characters of a password; the most bounds the work of hashing it."""

FREE_TRIES: Final = 5
"""Wrong passwords in a row before one has to wait."""

LONGEST_WAIT: Final = timedelta(minutes=15)
"""The longest wait after wrong passwords, and how long they are remembered."""

MAX_SITES: Final = 200
"""Sites of one role; who needs more needs the whole fleet."""

RESERVED_NAMES: Final = frozenset({"controller", "device", "token"})
"""Actors of the decision log that no user may be called."""

_ORDER: Final = tuple(Role)
_SITES_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: a user or an API token, by the name that the audit log will show.

    Attributes:
        sites: where the role holds, and all that is seen; none means everywhere.
    """

    name: str
    role: Role
    sites: frozenset[str] = frozenset()

    def may(self, act: Act) -> bool:
        """Whether the role is enough."""
        return _ORDER.index(self.role) >= _ORDER.index(NEEDS[act])

    def may_at(self, act: Act, site: str) -> bool:
        """Whether the role is enough, and holds at this site."""
        return self.may(act) and (not self.sites or site in self.sites)

    def check(self, act: Act) -> None:
        """Raise NotAllowed unless the role is enough."""
        if not self.may(act):
            raise NotAllowed(
                f"{self.name} is {self.role} and may not {act}",
                hint=f"ask somebody with the role {NEEDS[act]}",
            )

    def check_at(self, act: Act, sites: Iterable[str]) -> None:
        """Raise NotAllowed unless the role is enough and holds at all of these sites."""
        self.check(act)
        elsewhere = sorted(set(sites) - self.sites) if self.sites else []
        if elsewhere:
            named = ", ".join(site or "no site" for site in elsewhere[:_SITES_NAMED])
            more = f" and {len(elsewhere) - _SITES_NAMED} more" if elsewhere[_SITES_NAMED:] else ""
            raise NotAllowed(
                f"{self.name} is {self.role} at {', '.join(sorted(self.sites))},"
                f" and this is also about {named}{more}",
                hint=f"ask somebody with the role {NEEDS[act]} there",
            )

    def check_everywhere(self, act: Act) -> None:
        """Raise NotAllowed unless the role is enough and holds for the whole fleet."""
        self.check(act)
        if self.sites:
            raise NotAllowed(
                f"{self.name} is {self.role} at {', '.join(sorted(self.sites))},"
                f" and may not {act}: it concerns the whole fleet",
                hint=f"ask somebody with the role {NEEDS[act]} everywhere",
            )


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, and the sites where it holds; none means everywhere."""

    role: Role
    sites: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """As the decision log writes it."""
        return f"{self.role} at {', '.join(sorted(self.sites))}" if self.sites else str(self.role)


def parse_grant(role: str, sites: Iterable[str]) -> Grant:
    """A role with its sites; raises InvalidName."""
    found = frozenset(parse_label("site", site)[1] for site in sites)
    grant = Grant(parse_role(role), found)
    if grant.role is Role.ADMIN and found:
        raise InvalidName(
            "an admin is one for the whole fleet", hint="leave the sites out, or take another role"
        )
    if len(found) > MAX_SITES:
        raise InvalidName(f"a role is limited to at most {MAX_SITES} sites")
    return grant


def parse_user(text: str) -> str:
    """Return a user's name; raises InvalidName."""
    name = parse_operator(text)
    if name in RESERVED_NAMES:
        raise InvalidName(f"no user can be called {name}", hint="the decision log uses this word")
    return name


def parse_role(text: str) -> Role:
    """Return the role; raises InvalidName."""
    try:
        return Role(text)
    except ValueError as error:
        raise InvalidName(f"{text[:40]!r} is none of {', '.join(Role)}") from error


def check_password(password: str) -> None:
    """Raise InvalidName when a new password is too short or too long."""
    fewest, most = PASSWORD_CHARS
    if not fewest <= len(password) <= most:
        raise InvalidName(f"a password has {fewest} to {most} characters, not {len(password)}")


def session_is_over(opened: datetime, used: datetime, now: datetime) -> bool:
    """Whether a session has ended by itself."""
    return now - used > SESSION_IDLE or now - opened > SESSION_LIFE


def wait_until(failures: Sequence[datetime], now: datetime) -> datetime:
    """When the next password may be tried, after failures at these moments (in order).

    Twice as long after each further failure, up to LONGEST_WAIT.
    """
    recent = [moment for moment in failures if now - moment < LONGEST_WAIT]
    if len(recent) < FREE_TRIES:
        return now
    doublings = min(len(recent) - FREE_TRIES, 10)
    return recent[-1] + min(LONGEST_WAIT, timedelta(seconds=2**doublings))
