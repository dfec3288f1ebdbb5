"""Calendars: when rollouts give places at a site: weekly hours, freezes, holidays. Pure.

A calendar lives in the time zone of its site, and its days are the days there. What a change of the
clock does to hours is said in `sealane.windows`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sealane.errors import InvalidName
from sealane.windows import MAX_WINDOWS, is_open, next_opening, parse_window

from sealane_manager.selector import Selector, matches, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from sealane_manager.rollout.terms import Freeze

MAX_CALENDARS: Final = 256
"""In one fleet: one for each site, and some for all."""

MAX_DAYS: Final = 366
"""Freezes, and holidays, of one calendar."""

EVERY: Final = "all"
"""In the terms of a rollout: every calendar there is."""

FARTHEST: Final = timedelta(days=800)
"""A calendar that opens at no moment until then is told to open never."""

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,62}[a-z0-9])?")
_HOLIDAY: Final = re.compile(r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """When rollouts give places to the devices that a selector means.

    Attributes:
        zone: of the site, like Europe/Berlin.
        hours: windows of the week, as they are written; none is any time.
        freezes: days on which it is closed.
        holidays: days of every year on which it is closed, like 12-25.
    """

    name: str
    selector: str = ""
    zone: str = "UTC"
    hours: tuple[str, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    holidays: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a calendar gives no places now, and when it does again (in its zone; None: never)."""

    calendar: str
    why: str
    opens: datetime | None

    @property
    def words(self) -> str:
        """In one sentence."""
        on = "it opens no more" if self.opens is None else f"goes on at {_told(self.opens)}"
        return f"calendar {self.calendar} is closed ({self.why}); {on}"


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzinfo}"


def checked(calendar: Calendar) -> Calendar:
    """The same, if every part of it is in its grammar; raises InvalidName."""
    if not _NAME.fullmatch(calendar.name) or calendar.name == EVERY:
        raise InvalidName(
            f"{calendar.name[:80]!r} is no name of a calendar",
            hint=f"use up to 64 of a-z, 0-9, '-', '_' and '.'; {EVERY!r} means every one",
        )
    parse(calendar.selector)
    zone_of(calendar.zone)
    if len(calendar.hours) > MAX_WINDOWS:
        raise InvalidName(f"a calendar has at most {MAX_WINDOWS} windows")
    for window in calendar.hours:
        parse_window(window)
    _check_days(calendar)
    return calendar


def _check_days(calendar: Calendar) -> None:
    if max(len(calendar.freezes), len(calendar.holidays)) > MAX_DAYS:
        raise InvalidName(f"a calendar has at most {MAX_DAYS} freezes and holidays")
    if any(freeze.first > freeze.last for freeze in calendar.freezes):
        raise InvalidName("a freeze ends before it begins")
    for holiday in calendar.holidays:
        if not _HOLIDAY.fullmatch(holiday):
            raise InvalidName(f"{holiday[:40]!r} is no day of the year", hint="write 12-25")


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name; raises InvalidName."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidName(f"{name[:40]!r} is no time zone", hint="write Europe/Berlin") from error


def closed(calendar: Calendar, now: datetime) -> Closed | None:
    """Why it gives no places now; None while it is open."""
    why = _obstacle(calendar, now)
    if not why:
        return None
    opens = opening(calendar, now)
    return Closed(calendar.name, why, opens and opens.astimezone(zone_of(calendar.zone)))


def opening(calendar: Calendar, now: datetime) -> datetime | None:
    """The first moment from now on at which it is open, in UTC; None for none.

    Not in its zone: two moments of one zone are compared by what clocks on the wall show, which
    goes back once a year.
    """
    zone, windows = zone_of(calendar.zone), tuple(map(parse_window, calendar.hours))
    moment = now
    while moment - now <= FARTHEST:
        if _rests(calendar, moment.astimezone(zone).date()):
            moment = _midnight_after(moment, zone)
        elif windows and not is_open(windows, moment, zone):
            found = next_opening(windows, moment, zone)
            if found is None:
                return None
            moment = found
        else:
            return moment.astimezone(UTC)
    return None


def _obstacle(calendar: Calendar, now: datetime) -> str:
    zone, windows = zone_of(calendar.zone), tuple(map(parse_window, calendar.hours))
    rests = _rests(calendar, now.astimezone(zone).date())
    if rests or not windows or is_open(windows, now, zone):
        return rests
    return f"its hours are {', '.join(calendar.hours)}"


def _rests(calendar: Calendar, day: date) -> str:
    """Why nothing happens on this day; empty when something may."""
    for freeze in calendar.freezes:
        if freeze.first <= day <= freeze.last:
            return f"freeze {freeze.first} to {freeze.last}"
    holiday = f"{day:%m-%d}"
    return f"holiday {holiday}" if holiday in calendar.holidays else ""


def _midnight_after(moment: datetime, zone: ZoneInfo) -> datetime:
    day = moment.astimezone(zone).date() + _DAY
    return datetime.combine(day, time(), zone).astimezone(UTC)


class Closings:
    """The calendars that are closed now, and which device each means; judged when first asked."""

    def __init__(self, calendars: Iterable[Calendar], now: datetime) -> None:
        self._calendars, self._now = tuple(calendars), now

    @cached_property
    def _closed(self) -> tuple[tuple[Selector, Closed], ...]:
        found = ((each, closed(each, self._now)) for each in self._calendars)
        return tuple((parse(each.selector), why) for each, why in found if why)

    def of(self, device: str, labels: Mapping[str, str]) -> Closed | None:
        """What keeps a device from being given a place; of several, what opens last."""
        mine = [why for selector, why in self._closed if matches(selector, labels, device)]
        return max(mine, key=_last, default=None)


def first_to_open(found: Iterable[Closed]) -> Closed:
    """Of several, what opens first."""
    return min(found, key=_last)


def _last(why: Closed) -> tuple[bool, datetime]:
    return why.opens is None, (why.opens or datetime.max.replace(tzinfo=UTC)).astimezone(UTC)


def meaning(
    calendars: Iterable[Calendar], labels: Mapping[str, str], device: str
) -> tuple[Calendar, ...]:
    """Those that hold for the device of this name with these labels."""
    return tuple(each for each in calendars if matches(parse(each.selector), labels, device))


def all_open(calendars: Sequence[Calendar], moment: datetime) -> datetime | None:
    """The first moment from this one on at which all of them are open; None for none."""
    until = moment + FARTHEST
    while moment <= until:
        found = [opening(each, moment) for each in calendars]
        if None in found:
            return None
        last = max((each for each in found if each), default=moment)
        if last <= moment:
            return moment
        moment = last
    return None


def named(calendars: Iterable[Calendar], names: Iterable[str]) -> tuple[Calendar, ...]:
    """Those that a rollout keeps to."""
    wanted = set(names)
    return tuple(each for each in calendars if EVERY in wanted or each.name in wanted)


def labels_of(calendars: Iterable[Calendar]) -> frozenset[str]:
    """Labels that must be known to say whom they mean."""
    return frozenset(term.key for each in calendars for term in parse(each.selector).terms)
