"""Decides what terms a form asks for, and how a rollout's terms are told on its page. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from sealane.errors import InvalidName
from sealane.policy import WHOLE, Trial

from sealane_manager.rollout.notation import (
    freeze_text,
    limited,
    parse_freeze,
    parse_limit,
    parse_share,
    parse_span,
    parse_start,
    share_text,
    span_text,
    start_text,
)
from sealane_manager.rollout.terms import OnConflict, Pace, Retries, Terms, Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealane_manager.rollout.terms import Limit

    Part = TypeVar("Part")

DEFAULTS: Final[Mapping[str, str]] = {
    "at_once": "",
    "ramp": "",
    "limits": "",
    "start": "",
    "deadline": "",
    "stage_deadline": "",
    "freezes": "",
    "calendars": "",
    "retries": "0",
    "retry_delay": "1m",
    "approvals": "0",
    "on_conflict": "reject",
    "joins": "no",
    "split": "",
    "split_for": "",
    "shadow_for": "",
    "challenge_for": "",
}
"""The fields of the form, as they are written when nothing was chosen."""

MAX_COUNT: Final = 10**9
MOST_PARTS: Final = 20
"""Limits or spans of days in one form."""

CONFLICTS: Final[Mapping[OnConflict, str]] = {
    OnConflict.REJECT: "is refused",
    OnConflict.QUEUE: "waits until the other has ended",
    OnConflict.SUPERSEDE: "takes over from the other",
}
"""What a rollout does when another one is changing the same slot of one of its devices."""


def terms_of(fields: Mapping[str, str]) -> Terms:
    """What the form asks for; raises InvalidName that says which field is wrong."""
    start = fields["start"].strip()
    pace = Pace(
        _most(fields, "at_once"), _most(fields, "ramp"), _parts(fields["limits"], parse_limit)
    )
    times = Times(
        parse_start(start) if start else None,
        _span(fields["deadline"]),
        _parts(fields["freezes"], parse_freeze),
        _span(fields["stage_deadline"]),
        _parts(fields["calendars"], str),
    )
    return Terms(
        pace=pace,
        times=times,
        approvals=count(fields, "approvals", MAX_COUNT),
        on_conflict=_on_conflict(fields["on_conflict"]),
        joins=fields["joins"] == "yes",
        trial=_trial(fields["split"].strip(), *_trial_times(fields)),
        retries=Retries(count(fields, "retries", MAX_COUNT), parse_span(fields["retry_delay"])),
        challenge=_span(fields["challenge_for"]),
    )


def _span(text: str) -> timedelta | None:
    return parse_span(text) if text.strip() else None


def count(fields: Mapping[str, str], name: str, most: int) -> int:
    """The number in a field; raises InvalidName."""
    text = fields[name].strip()
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise InvalidName(f"{name.replace('_', ' ')} is a number from 0 to {most}")
    return int(text)


def told(terms: Terms) -> tuple[tuple[str, str], ...]:
    """What is agreed beyond stages and gate, in words; what is as usual is not told."""
    return (*_pace_told(terms.pace), *_times_told(terms.times), *_others_told(terms))


def _pace_told(pace: Pace) -> tuple[tuple[str, str], ...]:
    lines = [_limit_told(limit) for limit in pace.limits]
    if pace.ramp is not None:
        lines.insert(0, ("begins with", f"{pace.ramp} at once, one more for each that serves"))
    if pace.at_once is not None:
        lines.insert(0, ("devices at once", str(pace.at_once)))
    return tuple(lines)


def _limit_told(limit: Limit) -> tuple[str, str]:
    what = limited(limit) if limit.values else f"per {limited(limit)}"
    return what, f"{limit.at_once} at once"


def _times_told(times: Times) -> tuple[tuple[str, str], ...]:
    lines = []
    if times.start:
        lines.append(("not before", start_text(times.start)))
    if times.deadline:
        lines.append(("must end within", span_text(times.deadline)))
    if times.stage_deadline:
        lines.append(("each stage must end within", span_text(times.stage_deadline)))
    if times.calendars:
        lines.append(("keeps to calendars", ", ".join(times.calendars)))
    if times.freezes:
        lines.append(("rests on", ", ".join(freeze_text(each) for each in times.freezes)))
    return tuple(lines)


def _others_told(terms: Terms) -> tuple[tuple[str, str], ...]:
    lines = []
    if terms.on_conflict is not OnConflict.REJECT:
        lines.append(("another one in the slot", CONFLICTS[terms.on_conflict]))
    if terms.joins:
        lines.append(("devices that match later", "join"))
    retries = terms.retries
    if retries.count:
        again = f"up to {retries.count} times, first within {span_text(retries.delay)}"
        lines.append(("a failure that may pass is tried again", again))
    if terms.challenge is not None:
        lines.append(("challenges what served before", f"for {span_text(terms.challenge)}"))
    trial = terms.trial
    if trial.shadow_seconds:
        lines.append(("shadowed first", f"for {_seconds_text(trial.shadow_seconds)}"))
    if trial.share < 1.0:
        split = f"{share_text(trial.share)} of its requests for {_seconds_text(trial.seconds)}"
        lines.append(("split on each device", split))
    return tuple(lines)


def _seconds_text(seconds: float) -> str:
    return span_text(timedelta(seconds=seconds))


def _most(fields: Mapping[str, str], name: str) -> int | None:
    return count(fields, name, MAX_COUNT) if fields[name].strip() else None


def _parts(text: str, parse: Callable[[str], Part]) -> tuple[Part, ...]:
    written = [part.strip() for part in text.split(",") if part.strip()]
    if len(written) > MOST_PARTS:
        raise InvalidName(f"a form takes at most {MOST_PARTS} of them", hint="write a file instead")
    return tuple(parse(part) for part in written)


def _on_conflict(text: str) -> OnConflict:
    try:
        return OnConflict(text)
    except ValueError as error:
        raise InvalidName(f"{text[:40]!r} is none of {', '.join(OnConflict)}") from error


def _trial_times(fields: Mapping[str, str]) -> list[float]:
    texts = [fields[name].strip() for name in ("split_for", "shadow_for")]
    return [parse_span(text).total_seconds() if text else 0.0 for text in texts]


def _trial(split: str, lasts: float, shadowed: float) -> Trial:
    if lasts and not split:
        raise InvalidName("a split that lasts needs its share", hint="write 50% beside it")
    try:
        return Trial(parse_share(split) if split else WHOLE.share, lasts, shadowed)
    except ValueError as error:
        raise InvalidName(str(error)) from error
