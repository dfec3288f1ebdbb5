"""Converts the terms of a rollout between plain values and the wire; what does not fit raises."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from sealane import codec
from sealane.errors import InvalidName
from sealane.policy import Trial
from sealane.wire.v1 import operator_pb2 as wire

from sealane_manager.rollout.terms import (
    Freeze,
    Limit,
    OnConflict,
    Pace,
    Retries,
    Terms,
    Times,
)

if TYPE_CHECKING:
    from enum import StrEnum

    Word = TypeVar("Word", bound=StrEnum)

_PERCENT: Final = 100


def word(kind: type[Word], text: str) -> Word:
    """The member of an enumeration; raises InvalidName and lists the members."""
    try:
        return kind(text)
    except ValueError as error:
        known = ", ".join(kind)
        raise InvalidName(f"{text[:40]!r} is none of {known}") from error


def terms_to_wire(terms: Terms) -> wire.Terms:
    """The terms, for the wire."""
    pace, times = terms.pace, terms.times
    return wire.Terms(
        at_once=pace.at_once or 0,
        ramp=pace.ramp or 0,
        limits=[_limit_to_wire(each) for each in pace.limits],
        start_us=codec.to_micros(times.start) if times.start else 0,
        deadline_s=_seconds(times.deadline),
        stage_deadline_s=_seconds(times.stage_deadline),
        calendars=times.calendars,
        freezes=[
            wire.Freeze(first=each.first.isoformat(), last=each.last.isoformat())
            for each in times.freezes
        ],
        approvals=terms.approvals,
        on_conflict=terms.on_conflict,
        joins=terms.joins,
        split_percent=round(terms.trial.share * _PERCENT) % _PERCENT,
        split_s=round(terms.trial.seconds),
        shadow_s=round(terms.trial.shadow_seconds),
        retries=terms.retries.count,
        retry_delay_s=_seconds(terms.retries.delay),
        challenge_s=_seconds(terms.challenge),
    )


def _limit_to_wire(limit: Limit) -> wire.LabelLimit:
    return wire.LabelLimit(
        label=limit.label, at_once=limit.at_once, within=limit.within, values=limit.values
    )


def _seconds(span: timedelta | None) -> int:
    return round(span.total_seconds()) if span else 0


def _span(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def terms_from_wire(terms: wire.Terms) -> Terms:
    """The terms; raises InvalidName."""
    return Terms(
        Pace(
            terms.at_once or None,
            terms.ramp or None,
            tuple(
                Limit(each.label, each.at_once, tuple(each.within), each.values)
                for each in terms.limits
            ),
        ),
        Times(
            codec.from_micros(terms.start_us) if terms.start_us else None,
            _span(terms.deadline_s),
            tuple(Freeze(day(each.first), day(each.last)) for each in terms.freezes),
            _span(terms.stage_deadline_s),
            tuple(terms.calendars),
        ),
        terms.approvals,
        word(OnConflict, terms.on_conflict or OnConflict.REJECT),
        terms.joins,
        _trial(terms),
        Retries(terms.retries, _span(terms.retry_delay_s) or Retries().delay),
        _span(terms.challenge_s),
    )


def _trial(terms: wire.Terms) -> Trial:
    try:
        share = (terms.split_percent or _PERCENT) / _PERCENT
        return Trial(share, terms.split_s, terms.shadow_s)
    except ValueError as error:
        raise InvalidName(str(error)) from error


def day(text: str) -> date:
    """A day of the calendar, like 2026-12-24; raises InvalidName."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidName(f"{text[:40]!r} is not a day like 2026-12-24") from error
