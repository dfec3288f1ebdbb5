"""How durations, moments and labels are written: `90s`, `2026-05-04T12:00`, `site=berlin`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

import typer
from sealane.policy import WHOLE, Trial

from sealane_manager.rollout.terms import Freeze, Limit

_DURATION: Final = re.compile(r"([0-9]{1,6})(s|m|h|d)")
_SHARE: Final = re.compile(r"([1-9][0-9]?)%")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """Return the duration; a usage error otherwise."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise typer.BadParameter(f"{text!r} is not a duration: write 90s, 30m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def parse_moment(text: str, now: datetime) -> int:
    """Seconds since 1970, of `24h` (so long ago) or `2026-05-04T12:00` (UTC); a usage error."""
    if _DURATION.fullmatch(text):
        return int((now - parse_duration(text)).timestamp())
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no moment: write 24h or 2026-05-04T12:00") from error
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def parse_start(text: str) -> datetime:
    """When to begin, with its offset from UTC, which is UTC if there is none; a usage error."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no moment: write 2026-12-24T06:00+01:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_limit(text: str) -> Limit:
    """A limit by label, written as label=count; a usage error otherwise."""
    label, _, count = text.partition("=")
    if not label or not count.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a limit: write site=2")
    return Limit(label, int(count))


def parse_freeze(text: str) -> Freeze:
    """Days from..to, or one day; a usage error otherwise."""
    first, _, last = text.partition("..")
    try:
        return Freeze(date.fromisoformat(first), date.fromisoformat(last or first))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} are no days: write 2026-12-24..2027-01-02") from error


def parse_trial(split: str, lasts: str) -> Trial:
    """A share like 50% and how long it is kept, both empty for no split; a usage error."""
    if not split:
        if lasts:
            raise typer.BadParameter("--split-for needs --split: say which share, like 50%")
        return WHOLE
    found = _SHARE.fullmatch(split)
    if not found:
        raise typer.BadParameter(f"{split!r} is no share of requests: write 1% to 99%")
    seconds = parse_duration(lasts).total_seconds() if lasts else 0.0
    try:
        return Trial(int(found[1]) / 100, seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_labels(texts: list[str]) -> dict[str, str]:
    """Labels written as key=value; a usage error otherwise."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not a label: write key=value")
        labels[key] = value
    return labels
