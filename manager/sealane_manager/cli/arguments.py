"""How durations, moments and labels are written: `90s`, `2026-05-04T12:00`, `site=berlin`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_DURATION: Final = re.compile(r"([0-9]{1,6})(s|m|h|d)")
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


def parse_labels(texts: list[str]) -> dict[str, str]:
    """Labels written as key=value; a usage error otherwise."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not a label: write key=value")
        labels[key] = value
    return labels
