"""How durations and labels are written on the command line: `90s`, `24h`, `site=berlin`."""

from __future__ import annotations

import re
from datetime import timedelta
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


def parse_labels(texts: list[str]) -> dict[str, str]:
    """Labels written as key=value; a usage error otherwise."""
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not a label: write key=value")
        labels[key] = value
    return labels
