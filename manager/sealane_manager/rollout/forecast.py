"""Decides what a rollout would do, where, and when: its blast radius before it starts. Pure.

Times are the earliest ones: every device is reachable, every line does what it is said to do and
carries nothing else, and every gate passes as soon as its soak is over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from sealane.windows import is_open, next_opening

from sealane_manager.calendars import all_open, meaning
from sealane_manager.rollout.prospect import NOTHING, Load

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from sealane.policy import Policy
    from sealane.windows import Window

    from sealane_manager.calendars import Calendar
    from sealane_manager.rollout.prospect import Prospect
    from sealane_manager.rollout.terms import Freeze, Limit
    from sealane_manager.rollout.types import RolloutSpec

    Timetables = tuple[tuple[Window, ...], ...]

STEP: Final = timedelta(minutes=5)
"""Within an open window a transfer is counted in steps."""

FARTHEST: Final = timedelta(days=60)
"""Beyond it nothing is foretold."""

_BITS: Final = 8
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Lines:
    """What nobody tells the manager of its devices: how fast a line is, where the clocks stand."""

    link_kbit: int = 10_000
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Planned:
    """One device of a forecast.

    Attributes:
        stage: in which it has its turn, from 0; None when it is not in the rollout.
        variants: those that it would measure.
        why: why it is not in it, or would fail, or has to wait.
        fails: whether the release would fail there.
    """

    prospect: Prospect
    policy: Policy
    stage: int | None = None
    variants: tuple[str, ...] = ()
    why: str = ""
    fails: bool = False
    load: Load = NOTHING


@dataclass(frozen=True, slots=True)
class StageTime:
    """When a stage begins, when its last device serves, and when its soak is over; None: never."""

    begins: datetime
    serves: datetime | None
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What times depend on.

    Attributes:
        link_kbit: of lines of which no label says it.
        zone: of the devices' clocks.
        probation: how long each device watches the release before it keeps it.
        calendars: those that the rollout keeps to.
    """

    link_kbit: int
    zone: tzinfo
    probation: timedelta
    calendars: tuple[Calendar, ...] = ()


def times(
    spec: RolloutSpec, planned: Sequence[Planned], around: Conditions, now: datetime
) -> tuple[StageTime, ...]:
    """When each stage begins and ends at the earliest."""
    start = max(now, spec.terms.times.start or now)
    found: list[StageTime] = []
    for index in range(len(spec.stages)):
        members = [each for each in planned if each.stage == index]
        stage = _stage(spec, members, around, start)
        found.append(stage)
        if stage.ends is None:
            break
        start = stage.ends
    return tuple(found)


def _stage(
    spec: RolloutSpec, members: Sequence[Planned], around: Conditions, start: datetime
) -> StageTime:
    begins = unfrozen(spec.terms.times.freezes, start)
    rounds = waves(spec, members)
    ready = [_ready(group, around, begins) for group in _by_line(members, around.calendars)]
    if None in ready:
        return StageTime(begins, None, None)
    last = max((each for each in ready if each), default=begins)
    trial = timedelta(seconds=spec.terms.trial.seconds)
    probation = max(around.probation, trial, spec.terms.challenge or trial)
    serves = last + rounds * probation
    return StageTime(begins, serves, serves + spec.soak)


def waves(spec: RolloutSpec, members: Sequence[Planned]) -> int:
    """How many times after one another devices of a stage are put at risk."""
    pace = spec.terms.pace
    counts = [1]
    if pace.at_once:
        counts.append(-(-len(members) // pace.at_once))
    counts += [-(-_fullest(limit, members) // limit.at_once) for limit in pace.limits]
    if pace.ramp:
        counts.append(_doublings(len(members), pace.ramp))
    return max(counts)


def _fullest(limit: Limit, members: Sequence[Planned]) -> int:
    """The most devices, or values, that one place of this limit has to let through."""
    every = [each.prospect.labels for each in members]
    paths = [
        tuple(labels[label] for label in limit.labels)
        for labels in every
        if labels.keys() >= set(limit.labels)
    ]
    found = Counter(path[:-1] for path in set(paths)) if limit.values else Counter(paths)
    return max(found.values(), default=0)


def _doublings(devices: int, ramp: int) -> int:
    """Each device that serves makes room for one more beside the place that it frees."""
    done, rounds, room = 0, 0, ramp
    while done < devices:
        done += room
        room = ramp + done
        rounds += 1
    return rounds


def unfrozen(freezes: Iterable[Freeze], moment: datetime) -> datetime:
    """The first moment, not before this one, on a day that is not frozen."""
    days = tuple(freezes)
    while found := next((f for f in days if f.first <= moment.date() <= f.last), None):
        following = found.last + _DAY
        moment = datetime(following.year, following.month, following.day, tzinfo=UTC)
    return moment


def _by_line(
    members: Iterable[Planned], calendars: Sequence[Calendar]
) -> Iterable[tuple[tuple[Calendar, ...], list[Planned]]]:
    """Devices that share a line, a policy and calendars: those of a site, or one by itself."""
    lines: dict[tuple[str, Policy, tuple[Calendar, ...]], list[Planned]] = {}
    for each in members:
        at = each.prospect
        name, kept = at.site or f"\0{at.device}", meaning(calendars, at.labels, at.device)
        lines.setdefault((name, each.policy, kept), []).append(each)
    return ((key[2], group) for key, group in lines.items())


def _ready(
    line: tuple[tuple[Calendar, ...], Sequence[Planned]], around: Conditions, start: datetime
) -> datetime | None:
    """When every device of a line has what it needs and may activate."""
    calendars, group = line
    begins = all_open(calendars, start)
    if begins is None:
        return None
    speeds = [each.prospect.link_kbit for each in group if each.prospect.link_kbit]
    kbit = min(speeds, default=around.link_kbit)
    seconds = sum(each.load.patched for each in group) * _BITS / (kbit * 1000)
    policy = group[0].policy
    here = carried(policy.download, timedelta(seconds=seconds), begins, around.zone)
    return opened(policy.activation, here, around.zone) if here else None


def carried(
    windows: Timetables, needs: timedelta, start: datetime, zone: tzinfo
) -> datetime | None:
    """When a transfer that needs so long is through, if it goes on in open windows only."""
    if not windows:
        return start + needs
    moment, left = start, needs
    while moment - start <= FARTHEST:
        found = opened(windows, moment, zone)
        if found is None:
            return None
        step = min(STEP, left)
        moment, left = found + step, left - step
        if left <= timedelta(0):
            return moment
    return None


def opened(windows: Timetables, moment: datetime, zone: tzinfo) -> datetime | None:
    """The first moment from this one on at which a window of every timetable is open."""
    until = moment + FARTHEST
    while moment <= until:
        closed = [table for table in windows if not is_open(table, moment, zone)]
        if not closed:
            return moment
        openings = [next_opening(table, moment, zone) for table in closed]
        if None in openings:
            return None
        moment = max(each for each in openings if each)
    return None
