"""Decides how calendars are told: whether each is open, which days come, what keeps to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.calendars import EVERY, closed, zone_of
from sealane_manager.rollout.notation import freeze_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sealane_manager.calendars import Calendar, Closed
    from sealane_manager.store.summaries import RolloutLine

DAYS_SHOWN: Final = 4
"""Freezes, and holidays, that are written out; of the others is said how many there are."""


@dataclass(frozen=True, slots=True)
class CalendarLine:
    """One calendar now.

    Attributes:
        shut: why it gives no places now, and when it does again; None while it is open.
        days: the freezes that are not over, the next first, and the holidays.
        rollouts: those that keep to it and are not over.
    """

    calendar: Calendar
    shut: Closed | None
    days: tuple[str, ...]
    rollouts: tuple[RolloutLine, ...]


def calendar_lines(
    calendars: Iterable[Calendar], rollouts: Sequence[RolloutLine], now: datetime
) -> tuple[CalendarLine, ...]:
    """All of them; `rollouts`: those that are not over."""
    return tuple(
        CalendarLine(
            each,
            closed(each, now),
            _days(each, now),
            tuple(line for line in rollouts if _keeps(line, each.name)),
        )
        for each in calendars
    )


def _keeps(line: RolloutLine, calendar: str) -> bool:
    return not {EVERY, calendar}.isdisjoint(line.spec.terms.times.calendars)


def _days(calendar: Calendar, now: datetime) -> tuple[str, ...]:
    today = now.astimezone(zone_of(calendar.zone)).date()
    coming = sorted(
        (each for each in calendar.freezes if each.last >= today), key=lambda each: each.first
    )
    every_year = [f"each {day}" for day in sorted(calendar.holidays)]
    return (*_first([freeze_text(each) for each in coming]), *_first(every_year))


def _first(days: Sequence[str]) -> list[str]:
    more = len(days) - DAYS_SHOWN
    return [*days[:DAYS_SHOWN], *([f"{more} more"] if more > 0 else [])]
