"""The terms of a rollout: how many devices at once, when, and with whose consent. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sealane.policy import WHOLE, Trial, trial_from_json, trial_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Limit:
    """What may be at risk at once with the same value of a label (site, line, group).

    A device without one of the labels is alone, and never limited by it.

    Attributes:
        label: at most so many devices with the same value of it.
        within: labels around it, the outermost first: values are told apart within theirs, so that
            line 1 of one site is another one than line 1 of the next.
        values: count the values of the label that have a device at risk, not devices: so many lines
            of a site at once; without `within`, of the whole rollout.
    """

    label: str
    at_once: int
    within: tuple[str, ...] = ()
    values: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label that it looks at."""
        return (*self.within, self.label)


@dataclass(frozen=True, slots=True)
class Pace:
    """How many devices may be at risk at once; a stage's places limit it as well.

    Attributes:
        at_once: in the whole rollout; None for no limit but the stage's.
        ramp: so many at first, and one more for each device that serves; None for all at once.
        limits: each for itself; a device is given a place when every one allows it.
    """

    at_once: int | None = None
    ramp: int | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days, both included, on which no device is given a place; by the calendar of UTC."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Times:
    """When a rollout works.

    Attributes:
        start: not before; None for now.
        deadline: when it did not end so long after it began to run, its gate fails; None for never.
        stage_deadline: the same of each stage, from its beginning.
        calendars: names of those that it keeps to, device by device.
        freezes: days on which it gives no places.
    """

    start: datetime | None = None
    deadline: timedelta | None = None
    freezes: tuple[Freeze, ...] = ()
    stage_deadline: timedelta | None = None
    calendars: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retries:
    """How a device is tried again on which the release failed for a reason that may pass.

    Attributes:
        count: so often at most; 0 for never.
        delay: the longest pause before the first time, doubled each time. The pause itself is drawn
            from nothing up to that, so that devices which failed together do not come together.
    """

    count: int = 0
    delay: timedelta = timedelta(minutes=1)


class OnConflict(StrEnum):
    """What to do when another rollout is changing the same slot of one of the devices."""

    REJECT = "reject"
    QUEUE = "queue"
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True)
class Terms:
    """All of them.

    Attributes:
        approvals: people, other than the author, who must agree before it runs.
        joins: whether devices that match later join while it runs.
        trial: how each device tries the release beside the one before, until it is kept.
        retries: of devices on which it failed.
        challenge: so long at least champion and challenger stand side by side in each stage; None:
            devices keep the release when they find it healthy.
    """

    pace: Pace = Pace()
    times: Times = Times()
    approvals: int = 0
    on_conflict: OnConflict = OnConflict.REJECT
    joins: bool = False
    trial: Trial = WHOLE
    retries: Retries = Retries()
    challenge: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody's consent."""

    actor: str
    at: datetime
    reason: str


def terms_to_json(terms: Terms) -> dict[str, Any]:
    """The terms, as a value for JSON; times in seconds."""
    pace, times = terms.pace, terms.times
    return {
        "at_once": pace.at_once,
        "ramp": pace.ramp,
        "limits": [
            [each.label, each.at_once, list(each.within), each.values] for each in pace.limits
        ],
        "start": times.start.isoformat() if times.start else None,
        "deadline_s": _seconds(times.deadline),
        "stage_deadline_s": _seconds(times.stage_deadline),
        "freezes": [[each.first.isoformat(), each.last.isoformat()] for each in times.freezes],
        "calendars": list(times.calendars),
        "approvals": terms.approvals,
        "on_conflict": str(terms.on_conflict),
        "joins": terms.joins,
        "trial": trial_to_json(terms.trial),
        "retries": [terms.retries.count, terms.retries.delay.total_seconds()],
        "challenge_s": _seconds(terms.challenge),
    }


def _seconds(span: timedelta | None) -> float | None:
    return span.total_seconds() if span else None


def _span(seconds: float | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def _limit(
    label: str,
    at_once: int,
    within: Iterable[str] = (),
    values: bool = False,  # noqa: FBT001, FBT002 - as it was stored
) -> Limit:
    return Limit(label, at_once, tuple(within), values)


def terms_from_json(value: Mapping[str, Any]) -> Terms:
    """The terms; what an earlier version did not write has its default."""
    if not value:
        return Terms()
    start, standard = value["start"], Retries()
    count, delay = value.get("retries") or (standard.count, standard.delay.total_seconds())
    return Terms(
        Pace(
            value["at_once"],
            value["ramp"],
            tuple(_limit(*each) for each in value["limits"]),
        ),
        Times(
            datetime.fromisoformat(start) if start else None,
            _span(value["deadline_s"]),
            tuple(
                Freeze(date.fromisoformat(first), date.fromisoformat(last))
                for first, last in value["freezes"]
            ),
            _span(value.get("stage_deadline_s")),
            tuple(value.get("calendars", ())),
        ),
        value["approvals"],
        OnConflict(value["on_conflict"]),
        value["joins"],
        trial_from_json(value.get("trial")),
        Retries(count, timedelta(seconds=delay)),
        _span(value.get("challenge_s")),
    )
