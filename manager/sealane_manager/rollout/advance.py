"""Decides what a rollout does next: one table, read from the top, until no row fires.

The rollout comes with what was last seen of its devices; the decisions that come back are written
in the same transaction as the rollout. Nothing here waits, asks or remembers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane_manager.gate.ruling import Verdict, decide
from sealane_manager.rollout import moves
from sealane_manager.rollout.case import case, fell_silent, is_silent, listed
from sealane_manager.rollout.challenge import challengers, watched
from sealane_manager.rollout.notation import span_text
from sealane_manager.rollout.pace import frozen, grantable, has_turn, shut
from sealane_manager.rollout.placement import places
from sealane_manager.rollout.retries import to_try_again
from sealane_manager.rollout.types import (
    IN_FLIGHT,
    Begin,
    Decision,
    DeviceState,
    Grant,
    Judged,
    Mark,
    Note,
    OnFailure,
    Phase,
    Promote,
    Rollout,
    RolloutDevice,
    RolloutState,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_NAMED: Final = 3
_HOLDS: Final = IN_FLIGHT | {DeviceState.SERVING, DeviceState.SUSPECT}


@dataclass(frozen=True, slots=True)
class Look:
    """A rollout at a moment, with the gate's word on it."""

    rollout: Rollout
    now: datetime
    judged: Judged

    @property
    def verdict(self) -> Verdict:
        """The gate's word."""
        return self.judged.verdict

    @property
    def reason(self) -> str:
        """Why the gate says so."""
        return self.judged.reason

    @property
    def places(self) -> int:
        """Places of the stage that runs, with those of the stages before it."""
        stages, total = self.rollout.spec.stages, len(self.rollout.devices)
        return (
            total
            if stages[self.rollout.stage].selector
            else places(stages, total)[self.rollout.stage]
        )

    @property
    def last(self) -> bool:
        """Whether no stage follows."""
        return self.rollout.stage == len(self.rollout.spec.stages) - 1

    @property
    def waiting(self) -> tuple[RolloutDevice, ...]:
        """Devices that may have their turn in this stage, and had it not yet, in their order."""
        states = (each for each in self.rollout.devices if each.state is DeviceState.WAITING)
        return tuple(each for each in states if has_turn(self.rollout, each))

    @property
    def running(self) -> bool:
        """Whether the gate still waits for devices that have not finished."""
        return self.judged.case.facts.running


def look(rollout: Rollout, now: datetime) -> Look:
    """Judge the rollout as it stands."""
    judged = case(rollout, now, soaked=rollout.phase is Phase.EVALUATE)
    verdict, reason, _ = decide(judged)
    return Look(rollout, now, Judged(verdict, reason, judged))


def advance(rollout: Rollout, now: datetime) -> Step:
    """Move the rollout as far as it can go now; the same input gives the same step."""
    decisions: list[Decision] = []
    while step := _first_step(look(rollout, now)):
        rollout = step.rollout
        decisions += step.decisions
    return Step(rollout, tuple(decisions))


def _first_step(seen: Look) -> Step | None:
    for row in TABLE:
        if row.state is seen.rollout.state and row.phase in (None, seen.rollout.phase):
            step = row.then(seen) if row.when(seen) else None
            if step:
                return step
    return None


# When a row fires


def _silent(seen: Look) -> tuple[RolloutDevice, ...]:
    policy = seen.rollout.spec.gate
    midway = tuple(each for each in seen.rollout.devices if is_silent(each, policy, seen.now))
    return midway + fell_silent(seen.rollout, seen.now)


def _has_silent(seen: Look) -> bool:
    return bool(_silent(seen))


def _is_agreed(seen: Look) -> bool:
    return len(seen.rollout.approvals) >= seen.rollout.spec.terms.approvals


def _is_due(seen: Look) -> bool:
    return _has_come(seen) and not seen.rollout.blocked_by and not _shut(seen)


def _has_come(seen: Look) -> bool:
    start = seen.rollout.spec.terms.times.start
    return start is None or seen.now >= start


def _shut(seen: Look) -> str:
    """What calendars say when they are closed for everybody who has a turn."""
    return shut(seen.rollout, seen.waiting, seen.now)


def _may_be_tried_again(seen: Look) -> bool:
    return bool(to_try_again(seen.rollout))


def _overdue(seen: Look) -> str:
    """Which deadline has passed, if one has."""
    times = seen.rollout.spec.terms.times
    spans = (
        ("it", seen.rollout.began_at, times.deadline),
        (f"stage {seen.rollout.stage + 1}", seen.rollout.stage_since, times.stage_deadline),
    )
    for what, since, deadline in spans:
        if since is not None and deadline is not None and seen.now - since > deadline:
            return f"{what} did not end within {deadline}"
    return ""


def _is_overdue(seen: Look) -> bool:
    return bool(_overdue(seen))


def _gate_fails(seen: Look) -> bool:
    return seen.verdict is Verdict.FAIL


def _nobody_is_left(seen: Look) -> bool:
    """Of who had a place, and whom the stage means: no next one begins unproved."""
    return not seen.waiting and all(
        device.acknowledged or (device.state not in _HOLDS and not device.awaits_retry)
        for device in seen.rollout.devices
    )


def _gate_passes(seen: Look) -> bool:
    return seen.verdict is Verdict.PASS


def _has_grantable(seen: Look) -> bool:
    return bool(grantable(seen.rollout, seen.places, seen.now))


def _stage_is_full(seen: Look) -> bool:
    full = not seen.waiting or moves.taken(seen.rollout) >= seen.places or _has_all_it_can(seen)
    # Challengers hold their places until the verdict: who finds no room beside them comes after it.
    return (full or bool(challengers(seen.rollout))) and not seen.running


def _has_all_it_can(seen: Look) -> bool:
    """Whether all whom a stage means had their turn but those who are away: they catch up later."""
    stage = seen.rollout.spec.stages[seen.rollout.stage]
    away = not any(device.reachable for device in seen.waiting)
    began = any(each.stage == seen.rollout.stage for each in moves.granted(seen.rollout))
    return bool(stage.selector) and not seen.last and away and began


def _soak_is_over(seen: Look) -> bool:
    return seen.now - seen.rollout.phase_since >= watched(seen.rollout)


def _challengers_win(seen: Look) -> bool:
    return _gate_passes(seen) and bool(challengers(seen.rollout))


def _all_are_back(seen: Look) -> bool:
    late = seen.now - seen.rollout.phase_since > seen.rollout.spec.gate.silent_after
    return late or not any(_will_answer(device, seen) for device in _outstanding(seen.rollout))


def _will_answer(device: RolloutDevice, seen: Look) -> bool:
    """Who was heard since it was taken back may be away only to start anew with what it had."""
    return device.reachable or (
        device.heard_at is not None and device.heard_at > seen.rollout.phase_since
    )


def _outstanding(rollout: Rollout) -> tuple[RolloutDevice, ...]:
    return tuple(device for device in rollout.devices if device.state in _HOLDS)


def _always(_seen: Look) -> bool:
    return True


# What it does then


def _suspect(seen: Look) -> Step:
    silent = {device.device: device for device in _silent(seen)}
    detail = f"silent while {{}} for longer than {seen.rollout.spec.gate.silent_after}"
    marks = tuple(
        Mark(name, DeviceState.SUSPECT, detail.format(device.state))
        for name, device in silent.items()
    )
    details = {mark.device: mark.detail for mark in marks}
    devices = tuple(
        moves.moved(each, DeviceState.SUSPECT, details[each.device], seen.now)
        if each.device in silent
        else each
        for each in seen.rollout.devices
    )
    return Step(replace(seen.rollout, devices=devices), marks)


def _try_again(seen: Look) -> Step:
    again = {device.device: device for device in to_try_again(seen.rollout)}
    devices = tuple(again.get(each.device, each) for each in seen.rollout.devices)
    note = Note("try again", listed(tuple(again.values())))
    return Step(replace(seen.rollout, devices=devices), (note,))


def _schedule(seen: Look) -> Step:
    return moves.enter(seen.rollout, RolloutState.SCHEDULED, "approved", seen.now)


def _begin(seen: Look) -> Step:
    begun = replace(seen.rollout, began_at=seen.now, stage_since=seen.now)
    step = moves.enter(begun, RolloutState.RUNNING, "begins", seen.now)
    return replace(step, decisions=(*step.decisions, Begin()))


def _expire(seen: Look) -> Step:
    return _stop(seen, f"{_overdue(seen)}: {seen.reason}")


def _fail(seen: Look) -> Step:
    step = _stop(seen, seen.reason)
    return replace(step, decisions=(seen.judged, *step.decisions))


def _stop(seen: Look, reason: str) -> Step:
    match seen.rollout.spec.on_failure:
        case OnFailure.REVERT:
            return moves.revert(seen.rollout, reason, seen.now)
        case OnFailure.KEEP:
            return moves.finish(seen.rollout, RolloutState.ABORTED, reason, seen.now)
        case OnFailure.PAUSE:
            return moves.enter(seen.rollout, RolloutState.PAUSED, reason, seen.now)


def _give_up(seen: Look) -> Step:
    reason = "no device is left that could prove the release"
    return moves.finish(seen.rollout, RolloutState.FAILED, reason, seen.now)


def _grant(seen: Look) -> Step:
    chosen = frozenset(device.device for device in grantable(seen.rollout, seen.places, seen.now))
    devices = tuple(
        _leased(each, seen) if each.device in chosen else each for each in seen.rollout.devices
    )
    back = replace(seen.rollout, devices=devices)
    if back.phase is not Phase.DISPATCH:
        back = replace(back, phase=Phase.DISPATCH, phase_since=seen.now)
    given = (each for each in devices if each.device in chosen)
    return Step(back, tuple(Grant(each.device, each.attempt) for each in given))


def _leased(device: RolloutDevice, seen: Look) -> RolloutDevice:
    """With its place: its first one, or once more for another attempt."""
    given = moves.moved(device, DeviceState.LEASED, "", seen.now)
    if device.awaits_retry:
        return replace(given, attempt=device.attempt + 1, failure=None, retry_at=None)
    return replace(given, stage=seen.rollout.stage)


def _soak(seen: Look) -> Step:
    return _into(seen, Phase.SOAK, f"for {span_text(watched(seen.rollout))}")


def _evaluate(seen: Look) -> Step:
    return _into(seen, Phase.EVALUATE, seen.reason)


def _into(seen: Look, phase: Phase, detail: str) -> Step:
    turned = replace(seen.rollout, phase=phase, phase_since=seen.now)
    return Step(turned, (Note(phase, f"stage {seen.rollout.stage + 1}: {detail}"),))


def crown(seen: Look, why: str = "") -> Step:
    """Let every challenger become the champion; its device keeps it then, and proves it."""
    won = {each.device for each in challengers(seen.rollout)}
    devices = tuple(
        replace(each, promoted=True) if each.device in won else each
        for each in seen.rollout.devices
    )
    promoted = replace(seen, rollout=replace(seen.rollout, devices=devices))
    step = _into(promoted, Phase.DISPATCH, why or seen.reason)
    words = tuple(Promote(each.device) for each in devices if each.device in won)
    return replace(step, decisions=(seen.judged, *words, *step.decisions))


def go_on(seen: Look, why: str = "") -> Step:
    """To the next stage, or to the end when there is none; why, when it was not the gate."""
    reason = why or seen.reason
    if seen.last:
        step = moves.finish(seen.rollout, RolloutState.SUCCEEDED, reason, seen.now)
    else:
        following = replace(seen.rollout, stage=seen.rollout.stage + 1, stage_since=seen.now)
        step = _into(replace(seen, rollout=following), Phase.DISPATCH, reason)
    return replace(step, decisions=(seen.judged, *step.decisions))


def _reverted(seen: Look) -> Step:
    missing = _outstanding(seen.rollout)
    reason = seen.rollout.reason
    ended = replace(seen.rollout, ended_at=seen.now)
    step = moves.enter(ended, RolloutState.REVERTED, reason, seen.now)
    if not missing:
        return step
    detail = f"not confirmed yet by {listed(missing)}; each goes back when it hears"
    return replace(step, decisions=(*step.decisions, Note("unconfirmed", detail)))


def _explain(seen: Look) -> Step | None:
    reason = seen.reason
    if seen.rollout.phase is Phase.DISPATCH and not seen.running and seen.waiting:
        frost = frozen(seen.rollout.spec.terms.times, seen.now)
        there = [each for each in seen.waiting if each.reachable]
        rests = frost or shut(seen.rollout, there, seen.now)
        reason = rests or f"waits until it can reach {listed(seen.waiting)}"
    if reason == seen.rollout.reason:
        return None
    return Step(replace(seen.rollout, reason=reason))


def _say_what_is_missing(seen: Look) -> Step | None:
    rests = "" if seen.rollout.blocked_by or not _has_come(seen) else _shut(seen)
    reason = rests or missing_before_start(seen.rollout)
    return Step(replace(seen.rollout, reason=reason)) if reason != seen.rollout.reason else None


def missing_before_start(rollout: Rollout) -> str:
    """What a rollout that has not begun waits for."""
    terms = rollout.spec.terms
    if rollout.state is RolloutState.WAITING_APPROVAL:
        return f"{len(rollout.approvals)} of {terms.approvals} people have approved it"
    if rollout.blocked_by:
        return f"waits until {', '.join(rollout.blocked_by[:_NAMED])} has ended"
    return f"begins at {terms.times.start}" if terms.times.start else ""


@dataclass(frozen=True, slots=True)
class Row:
    """In this state and phase (None: any), when this holds, do that."""

    state: RolloutState
    phase: Phase | None
    when: Callable[[Look], bool]
    then: Callable[[Look], Step | None]


TABLE: Final = (
    # in this state            and phase        when            then
    Row(RolloutState.WAITING_APPROVAL, None, _is_agreed, _schedule),
    Row(RolloutState.WAITING_APPROVAL, None, _always, _say_what_is_missing),
    Row(RolloutState.SCHEDULED, None, _is_due, _begin),
    Row(RolloutState.SCHEDULED, None, _always, _say_what_is_missing),
    Row(RolloutState.RUNNING, None, _has_silent, _suspect),
    Row(RolloutState.RUNNING, None, _may_be_tried_again, _try_again),
    Row(RolloutState.RUNNING, None, _gate_fails, _fail),
    Row(RolloutState.RUNNING, None, _is_overdue, _expire),
    Row(RolloutState.RUNNING, None, _nobody_is_left, _give_up),
    Row(RolloutState.RUNNING, None, _has_grantable, _grant),
    Row(RolloutState.RUNNING, Phase.DISPATCH, _stage_is_full, _soak),
    Row(RolloutState.RUNNING, Phase.SOAK, _soak_is_over, _evaluate),
    Row(RolloutState.RUNNING, Phase.EVALUATE, _challengers_win, crown),
    Row(RolloutState.RUNNING, Phase.EVALUATE, _gate_passes, go_on),
    Row(RolloutState.RUNNING, None, _always, _explain),
    Row(RolloutState.PAUSED, None, _has_silent, _suspect),
    Row(RolloutState.PAUSED, None, _may_be_tried_again, _try_again),
    Row(RolloutState.REVERTING, None, _all_are_back, _reverted),
)
