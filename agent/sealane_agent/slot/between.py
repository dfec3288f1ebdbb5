"""Rules between attempts: whether another begins, and that nothing is left of the last. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind
from sealane.receipt import SERVING

from sealane_agent.layout import LKG
from sealane_agent.slot.case import failure_of, put_back
from sealane_agent.slot.going_back import by_operator, is_of
from sealane_agent.slot.quarantine import lifted, said
from sealane_agent.slot.state import (
    Attempt,
    DropWorkers,
    Enter,
    GiveUp,
    Rest,
    Restore,
    SetPointer,
    Settle,
    State,
)

if TYPE_CHECKING:
    from sealane_agent.slot.case import Case
    from sealane_agent.slot.state import Action, Wanted

MAX_RETRIES: Final = 5
"""How often a release that failed for a reason that may pass is tried again, outside a rollout.

Inside one, a failed device stays failed until the manager asks for another attempt by its number:
the operator reads one answer, not a flicker."""

RETRY_FAILED: Final = timedelta(minutes=15)
"""Pause before such a release is tried again; doubled each time."""


def ended(case: Case) -> Action:
    """No attempt is under way: begin what is wanted, else keep in order what serves."""
    wanted, strayed = case.wanted, _strayed(case)
    if strayed is not None:
        return strayed
    if lifted(case.record):
        return GiveUp(case.attempt)
    if wanted is None or _is_done(case, wanted):
        return _tidy(case)
    attempt = _begin(case, wanted)
    if wanted.refusal:
        return Enter(replace(attempt, state=State.FAILED, failure=wanted.refusal))
    order = case.record.ordered.get(attempt.manifest)
    if order is None and _serves_already(case, wanted):
        return _confirm(case, attempt)
    away = said(attempt, order) if order is not None else _put_away(case, attempt)
    return Enter(replace(attempt, state=State.QUARANTINED, failure=away) if away else attempt)


def _put_away(case: Case, attempt: Attempt) -> Failure | None:
    """Why this device does not try a release again, if it does not."""
    reason = case.record.quarantined.get(attempt.manifest)
    if reason is None:
        return None
    message = f"this device does not try these bytes again: {reason}"
    return failure_of(attempt, FailureKind.PERMANENT, message)


def _begin(case: Case, wanted: Wanted) -> Attempt:
    asked, last = wanted.assignment, case.record.attempt
    again = last is not None and last.key == wanted.key
    return Attempt(
        asked.slot,
        asked.release,
        asked.manifest,
        asked.rollout,
        State.ACCEPTED,
        case.now,
        policy=asked.policy,
        lease_until=asked.lease.expires if asked.lease else None,
        retries=last.retries + 1 if again and last is not None else 0,
        number=asked.attempt,
    )


def _is_done(case: Case, wanted: Wanted) -> bool:
    """Whether this very attempt has ended already, and is not worth another one now."""
    last, asked = case.record.attempt, wanted.assignment
    if last is None or not is_of(wanted, last):
        return False
    if last.state is State.QUARANTINED:
        return asked.manifest in {*case.record.quarantined, *case.record.ordered}
    if last.state is not State.FAILED or last.failure is None or by_operator(last):
        return True
    if last.failure.component == "verifier":
        return wanted.refusal is not None
    if asked.rollout or last.failure.kind is FailureKind.PERMANENT:
        return True
    pause = RETRY_FAILED * 2**last.retries
    return last.retries >= MAX_RETRIES or case.now < last.since + pause


def _serves_already(case: Case, wanted: Wanted) -> bool:
    lkg = case.seen.lkg
    return (
        lkg is not None and lkg == case.seen.active and lkg.manifest == wanted.assignment.manifest
    )


def _confirm(case: Case, attempt: Attempt) -> Action:
    """A rollout asks for what already serves: the receipt says so, and nothing moves."""
    kept = (case.record.committed, case.record.before)
    before = next((each for each in kept if each and each.pointer == case.seen.lkg), None)
    serving = case.seen.serving
    if not attempt.rollout or before is None or serving is None:
        return _tidy(case)
    if serving.active != case.seen.active:
        return _tidy(case)
    confirmed = replace(
        attempt,
        state=State.COMMITTED,
        choice=before.choice,
        limits=before.limits,
        traffic=serving.traffic,
    )
    return Enter(confirmed, receipt=SERVING)


def _strayed(case: Case) -> Action | None:
    """Both pointers name what was committed last, before it is judged what serves already."""
    last = case.record.attempt
    good = last.pointer if last is not None and last.state is State.COMMITTED else None
    if good is not None and case.seen.lkg != good:
        return SetPointer(LKG, good)
    return put_back(case)


def _tidy(case: Case) -> Action:
    """Between attempts: probation and workers as the last attempt left them."""
    seen, serving = case.seen, case.seen.serving
    if serving is None:
        return Rest()
    if serving.active != seen.active and seen.active is not None:
        return Restore(seen.active)
    if serving.probation:
        return Settle()
    return DropWorkers(serving.standby) if serving.standby else Rest()
