"""How durations, moments and labels are written: `90s`, `2026-05-04T12:00`, `site=berlin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import typer
from sealane.errors import InvalidName
from sealane.policy import WHOLE, Trial

from sealane_manager.rollout import notation
from sealane_manager.rollout.terms import Times

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from sealane_manager.rollout.terms import Freeze, Limit

Value = TypeVar("Value")


def usage(parse: Callable[[str], Value], text: str) -> Value:
    """What the text means; a usage error when it means nothing."""
    try:
        return parse(text)
    except InvalidName as error:
        raise typer.BadParameter(": ".join(filter(None, (str(error), error.hint)))) from error


def parse_duration(text: str) -> timedelta:
    """Return the duration; a usage error otherwise."""
    return usage(notation.parse_span, text)


def parse_bounded(text: str, shortest: timedelta, longest: timedelta | None = None) -> timedelta:
    """The duration, when it is neither too short nor too long; a usage error otherwise."""
    found = parse_duration(text)
    if found < shortest:
        raise typer.BadParameter(f"{text!r} is too short: at least {notation.span_text(shortest)}")
    if longest is not None and found > longest:
        raise typer.BadParameter(f"{text!r} is too long: at most {notation.span_text(longest)}")
    return found


def parse_moment(text: str, now: datetime) -> int:
    """Seconds since 1970, of `24h` (so long ago) or `2026-05-04T12:00` (UTC); a usage error."""
    try:
        return int((now - notation.parse_span(text)).timestamp())
    except InvalidName:
        return int(parse_start(text).timestamp())


def parse_start(text: str) -> datetime:
    """When to begin, with its offset from UTC, which is UTC if there is none; a usage error."""
    return usage(notation.parse_start, text)


def parse_end(text: str, now: datetime) -> datetime:
    """When something ends: `2h` from now, or a moment, in UTC without an offset; a usage error."""
    try:
        return now + notation.parse_span(text)
    except InvalidName:
        return parse_start(text)


def parse_limit(text: str) -> Limit:
    """A limit by label, like site=2; a usage error otherwise."""
    return usage(notation.parse_limit, text)


def parse_freeze(text: str) -> Freeze:
    """Days from..to, or one day; a usage error otherwise."""
    return usage(notation.parse_freeze, text)


def parse_times(
    start: str,
    deadlines: tuple[str, str],
    freezes: list[str] | None,
    calendars: list[str] | None,
) -> Times:
    """When a rollout works, with the deadlines of all of it and of a stage; a usage error."""
    whole, stage = (parse_duration(text) if text else None for text in deadlines)
    days = tuple(parse_freeze(text) for text in freezes or ())
    begins = parse_start(start) if start else None
    return Times(begins, whole, days, stage, tuple(calendars or ()))


def parse_trial(split: str, lasts: str, shadow: str) -> Trial:
    """A share like 50%, how long it is kept, and how long copies come before; a usage error.

    All of them empty: no trial.
    """
    if lasts and not split:
        raise typer.BadParameter("--split-for needs --split: say which share, like 50%")
    share = usage(notation.parse_share, split) if split else WHOLE.share
    times = [parse_duration(text).total_seconds() if text else 0.0 for text in (lasts, shadow)]
    try:
        return Trial(share, *times)
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
