"""Decides what a new rollout will change: which devices, in which order and stages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import AGENT_SLOT
from sealane.policy import LONGEST_TRIAL_S, WHOLE

from sealane_manager.calendars import MAX_CALENDARS
from sealane_manager.errors import Refused
from sealane_manager.gate.types import Kind
from sealane_manager.rollout.placement import (
    Member,
    expanded,
    labels_of,
    order,
    plan,
    selects,
    spread,
)
from sealane_manager.rollout.retries import LONGEST as PAUSE
from sealane_manager.rollout.terms import OnConflict
from sealane_manager.rollout.types import (
    DeviceState,
    Phase,
    Rollout,
    RolloutDevice,
    RolloutSpec,
    RolloutState,
    Stage,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sealane.names import DeviceId, ReleaseName

    from sealane_manager.gate.types import Checks
    from sealane_manager.rollout.terms import Limit, Retries, Terms

LONGEST: Final = timedelta(days=365)
"""Longest soak or silence: a rollout that waits longer was mistyped."""

MOST: Final = 2**31 - 1
"""Largest count that an operator gives."""

_MOST_ALPHA: Final = 0.5
_SHARES: Final = frozenset(Kind) - {Kind.ERRORS, Kind.LATENCY}
"""Checks that tolerate a share; the others tolerate a factor."""

MOST_APPROVALS: Final = 16
MOST_FREEZES: Final = 366
MOST_RETRIES: Final = 10
MOST_LIMITS: Final = 8
DEEPEST: Final = 4
"""Of one rollout: more were mistyped."""

_SHORTEST: Final = timedelta(seconds=1)
_ALL: Final = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that the selector means.

    Attributes:
        assigned: what the director wants in the slot now.
        active: what the device last said it serves there; empty for nothing.
        busy: id of the rollout that is still changing this slot on it; empty for none.
        labels: where stages are given by them.
    """

    device: DeviceId
    assigned: ReleaseName | None
    active: str
    busy: str
    labels: tuple[tuple[str, str], ...] = ()

    def has(self, release: ReleaseName) -> bool:
        """Whether it serves this release already, and shall."""
        return self.assigned == release and self.active == str(release)


@dataclass(frozen=True, slots=True)
class Matching:
    """How many devices a selector means.

    Attributes:
        already: of them serve the release already.
        busy: of them are being changed by another rollout.
        first: one of those, with that rollout.
        values: of the labels by which stages are grouped, on the devices that will be changed.
    """

    total: int
    already: int = 0
    busy: int = 0
    first: tuple[str, str] = ("", "")
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def draft(
    rollout: str, spec: RolloutSpec, candidates: Sequence[Candidate], now: datetime
) -> Rollout:
    """The rollout as it starts, with its devices; raises what `founded` does."""
    changed = {each.device: each for each in candidates if not each.has(spec.release)}
    values = _values(spec, changed.values())
    made = founded(rollout, spec, _matching(candidates, len(changed), values), now)
    members = [Member(each, dict(changed[each].labels)) for each in order(rollout, changed)]
    stages = spread(made.spec.stages, members)
    devices = tuple(
        _waiting(changed[member.device], index, now)
        for index, (_, chosen) in enumerate(stages)
        for member in chosen
    )
    return planned(replace(made, devices=devices), tuple(stage for stage, _ in stages))


def planned(rollout: Rollout, stages: tuple[Stage, ...]) -> Rollout:
    """The rollout with the stages in which somebody has a turn."""
    return replace(rollout, spec=replace(rollout.spec, stages=stages))


def _values(spec: RolloutSpec, changed: Iterable[Candidate]) -> Mapping[str, tuple[str, ...]]:
    every = [dict(each.labels) for each in changed]
    return {
        label: tuple(sorted({labels[label] for labels in every if label in labels}))
        for label in labels_of(spec.stages)
    }


def _matching(
    candidates: Sequence[Candidate], changed: int, values: Mapping[str, tuple[str, ...]]
) -> Matching:
    busy = [each for each in candidates if each.busy]
    first = (busy[0].device, busy[0].busy) if busy else ("", "")
    return Matching(len(candidates), len(candidates) - changed, len(busy), first, values)


def founded(rollout: str, spec: RolloutSpec, matching: Matching, now: datetime) -> Rollout:
    """The rollout as it starts, before its devices are placed.

    Raises Refused when it would change nothing or collide, and InvalidName when the numbers of the
    specification make no sense.
    """
    _check_numbers(spec)
    if spec.slot == AGENT_SLOT and spec.terms.trial != WHOLE:
        raise Refused(
            "a version of the agent answers no requests that could be split or copied",
            hint="start it without --split and --shadow-for",
        )
    if not matching.total:
        raise Refused(
            f"no device matches {spec.selector or 'the empty selector'!r}",
            hint="see `sealane device list`",
        )
    _check_busy(spec, matching)
    changed = matching.total - matching.already
    if not changed:
        raise Refused(f"every matching device serves {spec.release} in {spec.slot} already")
    state = opening(spec.terms, now, busy=bool(matching.busy))
    return Rollout(
        id=rollout,
        spec=replace(spec, stages=_stages(spec, matching, changed)),
        state=state,
        stage=0,
        phase=Phase.DISPATCH,
        phase_since=now,
        reason="",
        devices=(),
        created_at=now,
        began_at=now if state is RolloutState.RUNNING else None,
        stage_since=now if state is RolloutState.RUNNING else None,
        asked=spec.stages,
    )


def _stages(spec: RolloutSpec, matching: Matching, changed: int) -> tuple[Stage, ...]:
    if selects(spec.stages):
        return expanded(spec.stages, matching.values)
    return plan(spec.stages, changed)


def _check_numbers(spec: RolloutSpec) -> None:
    gate = spec.gate
    _check_evidence(gate.checks)
    _check_terms(spec.terms)
    ranges = (
        ("the soak", spec.soak, timedelta(0), LONGEST),
        ("the time after which a device is silent", gate.silent_after, _SHORTEST, LONGEST),
        ("the number of failed devices", gate.max_failed, 0, MOST),
        ("the share of failed devices", gate.max_failed_percent, 0, _ALL),
        ("the number of requests", gate.min_requests, 0, MOST),
    )
    for what, value, least, most in ranges:
        if not least <= value <= most:  # type: ignore[operator]  # each row is of one type
            raise InvalidName(f"{what} is {value}, which is not between {least} and {most}")


def _check_terms(terms: Terms) -> None:
    pace, times = terms.pace, terms.times
    counts = [pace.at_once, pace.ramp, *(limit.at_once for limit in pace.limits)]
    if any(count is not None and not 1 <= count <= MOST for count in counts):
        raise InvalidName("a limit of devices at once is not a count from 1 on")
    if not 0 <= terms.approvals <= MOST_APPROVALS:
        raise InvalidName(f"{terms.approvals} approvals are not between 0 and {MOST_APPROVALS}")
    _check_limits(pace.limits)
    for deadline in (times.deadline, times.stage_deadline):
        if deadline is not None and not _SHORTEST <= deadline <= LONGEST:
            raise InvalidName(f"the deadline is {deadline}, not between {_SHORTEST} and {LONGEST}")
    _check_retries(terms.retries)
    _check_challenge(terms)
    if any(freeze.first > freeze.last for freeze in times.freezes):
        raise InvalidName("a freeze ends before it begins")
    if len(times.freezes) > MOST_FREEZES or len(times.calendars) > MAX_CALENDARS:
        raise InvalidName(
            f"at most {MOST_FREEZES} freezes and {MAX_CALENDARS} calendars are allowed"
        )


def _check_limits(limits: Sequence[Limit]) -> None:
    if len(limits) > MOST_LIMITS:
        raise InvalidName(f"at most {MOST_LIMITS} limits are allowed")
    for limit in limits:
        if len(set(limit.labels)) < len(limit.labels) or len(limit.labels) > DEEPEST:
            raise InvalidName(f"a limit nests at most {DEEPEST} labels, each of them once")


def _check_challenge(terms: Terms) -> None:
    lasts, trial = terms.challenge, terms.trial
    if lasts is None:
        return
    if not _SHORTEST <= lasts <= timedelta(seconds=LONGEST_TRIAL_S):
        raise InvalidName(f"a challenge takes 1 s to {LONGEST_TRIAL_S:.0f} s, not {lasts}")
    if trial.share == 1 and not trial.shadow_seconds:
        raise InvalidName(
            "a challenger answers a share of requests, or copies of them",
            hint="say which: --split 20%, or --shadow-for 10m",
        )


def _check_retries(retries: Retries) -> None:
    if not 0 <= retries.count <= MOST_RETRIES:
        raise InvalidName(f"{retries.count} retries are not between 0 and {MOST_RETRIES}")
    if not _SHORTEST <= retries.delay <= PAUSE:
        raise InvalidName(f"the pause is {retries.delay}, not between {_SHORTEST} and {PAUSE}")


def _check_evidence(checks: Checks) -> None:
    """Refuse numbers with which a gate would judge nothing, or everything."""
    if not 0 < checks.alpha <= _MOST_ALPHA:
        raise InvalidName(
            f"alpha is {checks.alpha:g}, which is not above 0 and at most {_MOST_ALPHA:g}"
        )
    kinds = [check.kind for check in checks.checks]
    if len(kinds) != len(set(kinds)):
        raise InvalidName("a check is named twice")
    for check in checks.checks:
        low, high = (0.0, 1.0) if check.kind in _SHARES else (0.5, 100.0)
        if not low < check.tolerate < high:
            raise InvalidName(
                f"{check.kind} tolerates {check.tolerate:g}, not between {low:g} and {high:g}"
            )
        if check.kind not in _SHARES and not check.tolerate < check.proceed_below <= high:
            raise InvalidName(
                f"{check.kind} proceeds below {check.proceed_below:g}, which is not above the"
                f" tolerated {check.tolerate:g}"
            )


def opening(terms: Terms, now: datetime, *, busy: bool) -> RolloutState:
    """The state in which a new rollout is made."""
    if terms.approvals:
        return RolloutState.WAITING_APPROVAL
    later = terms.times.start is not None and terms.times.start > now
    if later or busy:
        return RolloutState.SCHEDULED
    return RolloutState.RUNNING


def _check_busy(spec: RolloutSpec, matching: Matching) -> None:
    if matching.busy and spec.terms.on_conflict is not OnConflict.QUEUE:
        device, rollout = matching.first
        raise Refused(
            f"rollout {rollout} is still changing slot {spec.slot} on {device}"
            + (f" and {matching.busy - 1} more" if matching.busy > 1 else ""),
            hint="wait until it has ended, or start with --on-conflict queue or supersede",
        )


def _waiting(candidate: Candidate, stage: int, now: datetime) -> RolloutDevice:
    return RolloutDevice(
        device=candidate.device,
        stage=stage,
        state=DeviceState.WAITING,
        previous=candidate.assigned,
        reachable=False,
        requests=0,
        detail="",
        changed_at=now,
        heard_at=None,
    )
