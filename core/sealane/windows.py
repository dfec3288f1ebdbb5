"""Windows of the week, in the time zone of a device: `mon-fri 22:00-05:00`. Pure.

Clocks that change are taken at their word. A window opens at the first moment at which a clock on
the wall shows its beginning or something later, and closes at the last one before its end: an hour
that comes twice is inside both times. A window that a change of the clock leaves out opens at the
change, for as long as it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import tzinfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS: Final = 32
"""In one timetable: a shift calendar has about ten."""

_DAY_MINUTES: Final = 24 * 60
_FORM: Final = re.compile(r"([a-z,-]{3,64}) ([0-2]\d):([0-5]\d)-([0-2]\d):([0-5]\d)")
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the day on some days of the week, on the wall clock of the device.

    Attributes:
        days: on which it opens, 0 is Monday.
        start: minutes after midnight.
        minutes: its length as written, at most a day; it may reach into the next day.
    """

    days: frozenset[int]
    start: int
    minutes: int

    def __str__(self) -> str:
        end = (self.start + self.minutes) % _DAY_MINUTES
        return f"{_days_text(self.days)} {_clock(self.start)}-{_clock(end)}"


def parse_window(text: str) -> Window:
    """Read `mon-fri 22:00-05:00`, `sat,sun 00:00-24:00` or `daily 01:00-02:00`.

    Raises InvalidName.
    """
    try:
        return _read(text)
    except ValueError as error:
        raise InvalidName(
            f"{text[:80]!r} is no window: write `mon-fri 22:00-05:00` or `daily 01:00-02:30`"
        ) from error


def is_open(windows: Iterable[Window], moment: datetime, zone: tzinfo) -> bool:
    """Whether one of the windows is open at this moment (aware)."""
    return any(opens <= moment < closes for opens, closes in _around(windows, moment, zone))


def next_opening(windows: Iterable[Window], moment: datetime, zone: tzinfo) -> datetime | None:
    """When one of the windows opens next after this moment, in UTC; None without windows."""
    return min((each for each, _ in _around(windows, moment, zone) if each > moment), default=None)


def _around(
    windows: Iterable[Window], moment: datetime, zone: tzinfo
) -> Iterator[tuple[datetime, datetime]]:
    """Every opening from two days before the moment to nine days after it, with its closing."""
    today = moment.astimezone(zone).date()
    dates = [today + timedelta(days=offset) for offset in range(-2, 9)]
    for window in windows:
        for day in dates:
            if day.weekday() in window.days:
                yield _occurrence(window, day, zone)


@lru_cache(maxsize=1024)  # whoever asks asks again a moment later, for the same days
def _occurrence(window: Window, day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    begins = datetime.combine(day, time()) + window.start * _MINUTE
    length = window.minutes * _MINUTE
    opens, closes = _first(begins, zone), _last(begins + length, zone)
    return opens, closes if closes > opens else opens + length


def _first(wall: datetime, zone: tzinfo) -> datetime:
    """The first moment at which the wall clock shows this or something later, in UTC."""
    early, late = sorted(_readings(wall, zone))
    if early == late or _shown(early, zone) == wall:
        return early
    # The clock jumps over it: the change lies between the two readings.
    while late - early > _MINUTE:
        middle = early + (late - early) // _MINUTE // 2 * _MINUTE
        early, late = (early, middle) if _shown(middle, zone) >= wall else (middle, late)
    return late


def _last(wall: datetime, zone: tzinfo) -> datetime:
    """The last moment before which the wall clock shows something earlier, in UTC."""
    late = max(_readings(wall, zone))
    return late if _shown(late, zone) == wall else _first(wall, zone)


def _readings(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    before, after = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return before, after


def _shown(moment: datetime, zone: tzinfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _read(text: str) -> Window:
    """The window; raises ValueError. One that ends as it begins lasts a day."""
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(text)
    start, end = _minutes(found[2], found[3]), _minutes(found[4], found[5])
    start %= _DAY_MINUTES
    return Window(_days(found[1]), start, (end - start) % _DAY_MINUTES or _DAY_MINUTES)


def _minutes(hours: str, minutes: str) -> int:
    total = int(hours) * 60 + int(minutes)
    if total > _DAY_MINUTES:
        raise ValueError(total)
    return total


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update(day % 7 for day in range(begin, end + (7 if end < begin else 0) + 1))
    return frozenset(found)


def _days_text(days: frozenset[int]) -> str:
    return "daily" if len(days) == len(DAYS) else ",".join(DAYS[day] for day in sorted(days))


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
