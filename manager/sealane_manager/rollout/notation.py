"""How people write the parts of a rollout, and how they are written back: `30m`, `site=2`. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sealane.errors import InvalidName
from sealane.names import parse_label

from sealane_manager.rollout.terms import Freeze, Limit

_SPAN: Final = re.compile(r"([0-9]{1,6})\s*(s|m|h|d)")
_UNITS: Final = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SHARE: Final = re.compile(r"([1-9][0-9]?)%")
_COUNT: Final = re.compile(r"[0-9]{1,10}")
_FLEET: Final = "fleet"
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def parse_span(text: str) -> timedelta:
    """Read `90s`, `30m`, `24h` or `7d`; raises InvalidName."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise InvalidName(f"{text[:40]!r} is not a duration", hint="write 90s, 30m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def span_text(span: timedelta) -> str:
    """The duration in its largest unit that leaves nothing over; whole seconds."""
    seconds = round(span.total_seconds())
    if not seconds:
        return "0s"
    unit = next(unit for unit, size in _UNITS.items() if seconds % size == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def parse_start(text: str) -> datetime:
    """A moment with its offset from UTC, which is UTC if there is none; raises InvalidName."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidName(
            f"{text[:40]!r} is no moment", hint="write 2026-12-24T06:00+01:00"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def start_text(moment: datetime) -> str:
    """The moment in UTC."""
    return moment.astimezone(UTC).isoformat()


def parse_freeze(text: str) -> Freeze:
    """Days from..to, or one day; raises InvalidName."""
    first, _, last = text.partition("..")
    try:
        return Freeze(_day(first), _day(last or first))
    except ValueError as error:
        raise InvalidName(
            f"{text[:40]!r} are no days", hint="write 2026-12-24..2027-01-02"
        ) from error


def freeze_text(freeze: Freeze) -> str:
    """The days as `parse_freeze` reads them."""
    first, last = freeze.first.isoformat(), freeze.last.isoformat()
    return first if first == last else f"{first}..{last}"


def _day(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return date.fromisoformat(text)


def parse_limit(text: str) -> Limit:
    """A limit by label; raises InvalidName.

    `site=2`: two devices of each site. `site/line=1`: one device of each line of each site.
    `line per site=2`: two lines of each site. `site per fleet=1`: one site at a time.
    """
    path, _, count = text.partition("=")
    inner, per, outer = path.partition(" per ")
    above = () if outer == _FLEET else tuple(outer.split("/"))
    *within, label = (*above, inner) if per else path.split("/")
    for each in (*within, label):
        _check_label(each, text)
    if not _COUNT.fullmatch(count):
        raise _no_limit(text)
    return Limit(label, int(count), tuple(within), bool(per))


def _check_label(label: str, text: str) -> None:
    try:
        parse_label(label, "any")
    except InvalidName as error:
        raise _no_limit(text) from error


def _no_limit(text: str) -> InvalidName:
    return InvalidName(
        f"{text[:40]!r} is not a limit", hint="write site=2, site/line=1 or `line per site=2`"
    )


def limit_text(limit: Limit) -> str:
    """The limit as `parse_limit` reads it."""
    return f"{limited(limit)}={limit.at_once}"


def limited(limit: Limit) -> str:
    """What a limit counts, as it is written."""
    if limit.values:
        return f"{limit.label} per {'/'.join(limit.within) or _FLEET}"
    return "/".join(limit.labels)


def parse_share(text: str) -> float:
    """Read `50%` of a device's requests; raises InvalidName."""
    found = _SHARE.fullmatch(text)
    if not found:
        raise InvalidName(f"{text[:40]!r} is no share of requests", hint="write 1% to 99%")
    return int(found[1]) / 100


def share_text(share: float) -> str:
    """The share as `parse_share` reads it."""
    return f"{round(100 * share)}%"
