"""Schedules: when which devices may fetch and activate. Pure.

Every schedule whose selector means a device holds for it: in each of their timetables a window must
be open. Of triggers the most patient counts, of commit rules the strictest, of leases the longest.
One of them is enough to let slots be interrupted: all their windows must be open even so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.policy import Commit, Policy, Trigger
from sealane.windows import MAX_WINDOWS, parse_window

from sealane_manager.selector import matches, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane.windows import Window

MAX_SCHEDULES: Final = 64
"""In one fleet: a calendar for each kind of site."""

LONGEST_LEASE: Final = timedelta(days=15)
"""As long as a device waits."""

_NAME_CHARS: Final = 64
_PATIENCE: Final = (Trigger.WINDOW, Trigger.IDLE, Trigger.RESTART)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What holds for the devices that a selector means.

    Attributes:
        download, activation: windows, as they are written; none is any time.
        lease: how long a lease is good; zero leaves the manager's own.
        interrupts: a slot may serve nobody while a release is loaded for which there is no memory
            beside the one before, once it could be activated.
    """

    name: str
    selector: str
    download: tuple[str, ...] = ()
    activation: tuple[str, ...] = ()
    trigger: Trigger = Trigger.WINDOW
    commit: Commit = Commit.LOCAL_HEALTH
    lease: timedelta = timedelta(0)
    interrupts: bool = False


def checked(schedule: Schedule) -> Schedule:
    """The same, if every part of it is in its grammar; raises InvalidName."""
    name = schedule.name
    if not (0 < len(name) <= _NAME_CHARS and name.isprintable() and name == name.strip()):
        raise InvalidName(f"a schedule has a name of 1 to {_NAME_CHARS} printable characters")
    parse(schedule.selector)
    windows = (*schedule.download, *schedule.activation)
    if len(windows) > MAX_WINDOWS:
        raise InvalidName(f"a schedule has at most {MAX_WINDOWS} windows")
    for window in windows:
        parse_window(window)
    if not timedelta(0) <= schedule.lease <= LONGEST_LEASE:
        raise InvalidName(f"a lease is good for {LONGEST_LEASE.days} days at most")
    return schedule


def meaning(
    schedules: Iterable[Schedule], labels: Mapping[str, str], device: str = ""
) -> tuple[Schedule, ...]:
    """Those that hold for the device of this name with these labels."""
    return tuple(each for each in schedules if matches(parse(each.selector), labels, device))


def policy_of(schedules: Iterable[Schedule]) -> tuple[Policy, timedelta]:
    """What all of them ask together, and how long a lease is good; zero says nothing of it."""
    found = sorted(schedules, key=lambda each: each.name)
    policy = Policy(
        download=_timetables(each.download for each in found),
        activation=_timetables(each.activation for each in found),
        trigger=_trigger({each.trigger for each in found}),
        commit=_commit({each.commit for each in found}),
        interrupts=any(each.interrupts for each in found),
    )
    return policy, max((each.lease for each in found), default=timedelta(0))


def _timetables(written: Iterable[tuple[str, ...]]) -> tuple[tuple[Window, ...], ...]:
    tables = [tuple(map(parse_window, windows)) for windows in written if windows]
    return tuple(dict.fromkeys(tables))


def _trigger(asked: set[Trigger]) -> Trigger:
    if asked == {Trigger.NOW}:
        return Trigger.NOW
    return max(asked - {Trigger.NOW}, key=_PATIENCE.index, default=Trigger.WINDOW)


def _commit(asked: set[Commit]) -> Commit:
    strict = asked - {Commit.LOCAL_HEALTH}
    if not strict:
        return Commit.LOCAL_HEALTH
    return Commit.SERVER_ACK if asked == {Commit.SERVER_ACK} else Commit.BOTH
