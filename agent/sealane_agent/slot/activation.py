"""Rules from activation on: the release serves, and it stays or the one before comes back. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind
from sealane.policy import Commit
from sealane.receipt import ROLLED_BACK, SERVING

from sealane_agent.layout import ACTIVE, LKG
from sealane_agent.slot.case import (
    MAX_RESTARTS,
    enter,
    go_back,
    moved,
    put_back,
    stage_anew,
    worker_of,
)
from sealane_agent.slot.going_back import by_operator
from sealane_agent.slot.permission import awaits, undecided
from sealane_agent.slot.probation import Decision, judge, lengthened
from sealane_agent.slot.state import Enter, Rest, Restore, SetPointer, State, Switch

if TYPE_CHECKING:
    from sealane.bundle.types import ProbationLimits

    from sealane_agent.slot.case import Case
    from sealane_agent.slot.state import Action, Attempt

ACTIVATING_DEADLINE_S: Final = 120.0
PROBATION_GRACE_S: Final = 3600.0
VERDICT_GRACE_S: Final = 7 * 24 * 3600.0
ROLLING_BACK_DEADLINE_S: Final = 600.0
"""Deadlines in the supervisor's own monotonic time; restarts are counted instead."""


def activating(case: Case) -> Action:
    """The pointer first, then the endpoint; both again after a crash in between."""
    attempt, seen, pointer = case.attempt, case.seen, case.attempt.pointer
    if seen.in_state_s > ACTIVATING_DEADLINE_S or attempt.restarts > MAX_RESTARTS:
        return go_back(case, FailureKind.ENVIRONMENTAL, "it could not be activated in time")
    if pointer is None:
        return stage_anew(case)
    if seen.active != pointer:
        return SetPointer(ACTIVE, pointer)
    if seen.serving is None:
        return Rest()
    if seen.serving.active == pointer:
        return enter(case, State.PROBATION)
    worker = worker_of(attempt)
    switch = Switch(worker, attempt.policy.trial.share)
    return switch if worker in seen.serving.standby else stage_anew(case)


def probation(case: Case) -> Action:
    """The release serves, watched: by its limits, or until the manager says."""
    hopeless, serving, lkg = _hopeless(case), case.seen.serving, case.seen.lkg
    if hopeless:
        return hopeless
    if serving is None or serving.active is None:
        return Rest()
    if serving.active != case.attempt.pointer:
        return stage_anew(case)
    if not serving.probation and lkg not in (None, serving.active):
        # The endpoint restarted: nothing answers for the release where it fails.
        return Restore(lkg)
    return _judged(case)


def _hopeless(case: Case) -> Action | None:
    attempt = case.attempt
    if attempt.restarts > MAX_RESTARTS:
        return go_back(case, FailureKind.PERMANENT, "the device restarted too often under it")
    # What began as a challenge has that long, also when it was promoted a moment ago.
    grace = VERDICT_GRACE_S if attempt.policy.trial.awaits else PROBATION_GRACE_S
    if case.seen.in_state_s > _limits(attempt).deadline_seconds + grace:
        return go_back(
            case, FailureKind.ENVIRONMENTAL, undecided(case.attempt, case.wanted, case.seen)
        )
    if _taken_back(case):
        return go_back(case, FailureKind.TRANSIENT, "the director took it back")
    return None


def _limits(attempt: Attempt) -> ProbationLimits:
    return lengthened(attempt.limits, attempt.policy.trial.seconds)


def _judged(case: Case) -> Action:
    serving = case.seen.serving
    assert serving is not None  # noqa: S101 - asked by the rule before
    verdict = judge(serving.traffic, _limits(case.attempt), case.seen.in_state_s, serving.broke)
    if verdict.decision is Decision.BACK:
        return go_back(case, FailureKind.PERMANENT, verdict.reason)
    if awaits(case.attempt, case.wanted, case.seen) or not _may_commit(
        case, healthy=verdict.decision is Decision.KEEP
    ):
        return Rest()
    committed = replace(case.attempt, traffic=serving.traffic, failure=None)
    return Enter(moved(committed, State.COMMITTED, case.now), receipt=SERVING)


def _may_commit(case: Case, *, healthy: bool) -> bool:
    match case.attempt.policy.commit:
        case Commit.LOCAL_HEALTH:
            return healthy
        case Commit.SERVER_ACK:
            return case.seen.told
        case Commit.BOTH:
            return healthy and case.seen.told


def _taken_back(case: Case) -> bool:
    """Whether the director wants the last known good model again."""
    if case.wanted is None or case.seen.lkg is None or case.wanted.refusal:
        return False
    asked = case.wanted.assignment.manifest
    return asked == case.seen.lkg.manifest and asked != case.attempt.manifest


def rolling_back(case: Case) -> Action:
    """Pointer and endpoint back to the last known good, or safe mode when they will not."""
    attempt, seen, before = case.attempt, case.seen, case.record.committed
    allowed = before is not None and before.manifest not in case.record.ordered
    good = before.pointer if before and allowed and by_operator(attempt) else None
    if good is not None and seen.lkg != good:
        return SetPointer(LKG, good)
    strayed = put_back(case)
    if strayed is not None:
        return strayed
    bad = attempt.failure is not None and attempt.failure.kind is FailureKind.PERMANENT
    nothing_better = seen.lkg is None
    if nothing_better or (seen.serving is not None and seen.serving.active == seen.lkg):
        ended = moved(attempt, State.ROLLED_BACK, case.now)
        return Enter(ended, receipt=ROLLED_BACK, quarantine=bad)
    if seen.in_state_s > ROLLING_BACK_DEADLINE_S:
        return Enter(moved(attempt, State.SAFE_MODE, case.now), quarantine=bad)
    return Rest() if seen.serving is None or seen.lkg is None else Restore(seen.lkg)
