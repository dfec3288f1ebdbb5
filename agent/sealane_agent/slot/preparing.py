"""Rules before activation: nothing that serves is changed yet. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind

from sealane_agent.slot.case import (
    MAX_RESTARTS,
    enter,
    failure_of,
    moved,
    put_back,
    stage_anew,
    worker_of,
)
from sealane_agent.slot.permission import (
    LEASE,
    before_activation,
    before_fetching,
    fetched_in_windows,
    granted,
    interrupts,
)
from sealane_agent.slot.shadowing import wants_copies, while_copied
from sealane_agent.slot.state import AskDocument, Enter, Fetch, GiveUp, Remember, Rest, Stage, State

if TYPE_CHECKING:
    from sealane_agent.slot.case import Case
    from sealane_agent.slot.state import Action

FETCHING_DEADLINE: Final = timedelta(hours=24)
WAITING_DEADLINE: Final = timedelta(days=7)
WINDOW_DEADLINE: Final = timedelta(days=15)
"""Deadlines in trusted time: they hold over restarts. The last is that of both where windows are
set: of one that opens once a week two come and go."""


def accepted(case: Case) -> Action:
    """Nothing more can be checked before its blobs are here."""
    return _superseded(case) or enter(case, State.FETCHING)


def fetching(case: Case) -> Action:
    """Its blobs while its window is open, then a variant that proves itself."""
    attempt = case.attempt
    early = _superseded(case) or put_back(case) or _worn_out(case)
    if early:
        return early
    deadline = WINDOW_DEADLINE if fetched_in_windows(attempt) else FETCHING_DEADLINE
    if case.now > attempt.since + deadline:
        return _fail(case, f"it could not be fetched and staged within {deadline.days} days")
    if attempt.retry_at is not None and case.now < attempt.retry_at:
        return Rest()
    known, _ = granted(attempt, case.wanted, case.seen)
    if not attempt.fetched:
        return Rest() if before_fetching(known, case.seen, case.now) else Fetch(known)
    if case.seen.serving is None:
        return Rest()
    return Stage(known, interrupts=interrupts(known, case.seen, case.now))


def staged(case: Case) -> Action:
    """Its worker waits, warm, until it may serve."""
    early = _superseded(case) or put_back(case) or _worn_out(case)
    if early:
        return early
    serving = case.seen.serving
    if serving is not None and worker_of(case.attempt) not in serving.standby:
        switched_off = case.attempt.staged_in not in ("", case.seen.boot)
        return stage_anew(case, counted=not switched_off)
    return _when_allowed(case)


def _when_allowed(case: Case) -> Action:
    attempt, news = granted(case.attempt, case.wanted, case.seen)
    obstacle = before_activation(attempt, case.seen, case.now)
    if obstacle is None:
        tried = attempt.state is not State.SHADOW and wants_copies(attempt, case.seen.serving)
        on = Enter(moved(attempt, State.SHADOW if tried else State.ACTIVATING, case.now))
        return Rest() if case.seen.serving is None else on
    if attempt.state is State.STAGED:
        boot = case.seen.boot
        waiting = replace(attempt, boot=attempt.boot or boot, staged_in=boot)
        return Enter(moved(waiting, State.WAITING, case.now))
    deadline = WINDOW_DEADLINE if attempt.policy.activation else WAITING_DEADLINE
    if case.now > attempt.since + deadline:
        return _fail(case, f"after {deadline.days} days {obstacle.reason}")
    if news:
        return Remember(attempt)
    # Only the lease is missing, and it ran out: a new document brings another.
    expired = obstacle.kind == LEASE and attempt.lease_until is not None
    return AskDocument() if expired else Rest()


def shadow(case: Case) -> Action:
    """It gets copies of requests, whose answers go to nobody."""
    early = _superseded(case) or put_back(case) or _worn_out(case)
    if early:
        return early
    serving, worker = case.seen.serving, worker_of(case.attempt)
    if serving is None:
        return Rest()
    if worker not in serving.standby:
        return stage_anew(case)
    action = while_copied(case.attempt, worker, case.seen, case.now)
    return action or _when_allowed(case)


def _superseded(case: Case) -> Action | None:
    """Before activation the director may change its mind at no cost."""
    if not case.seen.heard:
        return None
    if case.wanted is None or case.attempt.key != case.wanted.key:
        return GiveUp(case.attempt)
    if case.wanted.refusal:
        failed = replace(case.attempt, failure=case.wanted.refusal)
        return Enter(moved(failed, State.FAILED, case.now))
    return None


def _worn_out(case: Case) -> Action | None:
    if case.attempt.restarts <= MAX_RESTARTS:
        return None
    return _fail(case, "it was begun anew too often: something dies whenever it is loaded")


def _fail(case: Case, message: str) -> Action:
    failure = case.attempt.failure or failure_of(case.attempt, FailureKind.TRANSIENT, message)
    return Enter(moved(replace(case.attempt, failure=failure), State.FAILED, case.now))
