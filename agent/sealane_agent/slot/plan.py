"""THE table of the agent: what to do next in one slot. Pure: no I/O, no clock, no random.

  state         leaves it when                                            for
  ------------  --------------------------------------------------------  ----------------------
  idle, ended   the director wants a release that does not serve          accepted | quarantined
  accepted      nothing more can be checked before its blobs are here     fetching
  fetching      its window was open, every blob is here, a variant        staged
                proved itself
  staged        at once                                                   as waiting, or waiting
  waiting       no hold, its window is open, its trigger came, and the    shadow | activating
                lease is there
  shadow        it got copies of requests for as long as its policy says  activating
                and nothing is in the way
                it failed on them, or answered too much of it otherwise   failed
  activating    the pointer is flipped, and the endpoint serves it        probation
  probation     it kept its limits for long enough, or the manager        committed
                knows of it, or both: as its policy says
                it broke a limit, or the director takes it back           rolling_back
  rolling_back  pointer and endpoint are back at the last known good      rolled_back | safe_mode
  committed     (ended) the last known good pointer follows
                an operator at the device wants the release before        rolling_back

Releases that the manager put into quarantine come first: `slot/quarantine.py` says what follows.
Whatever happens before `activating` changes nothing that serves. A state that outlives its deadline
ends the attempt; an attempt that was begun anew too often ends too. Every action is idempotent and
is planned again from what is seen, so that a crash at any point only repeats it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind
from sealane.policy import Commit
from sealane.receipt import ROLLED_BACK, SERVING

from sealane_agent.layout import ACTIVE, LKG
from sealane_agent.slot.going_back import by_operator, gone_back, is_of
from sealane_agent.slot.permission import (
    LEASE,
    awaits,
    before_activation,
    before_fetching,
    granted,
    undecided,
)
from sealane_agent.slot.probation import Decision, judge, lengthened, outlived
from sealane_agent.slot.quarantine import obeyed, said
from sealane_agent.slot.shadowing import wants_copies, while_copied
from sealane_agent.slot.state import (
    ENDED,
    AskDocument,
    Attempt,
    DropWorkers,
    Enter,
    Fetch,
    GiveUp,
    Remember,
    Rest,
    Restore,
    SetPointer,
    Settle,
    Stage,
    State,
    Switch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealane.bundle.types import ProbationLimits

    from sealane_agent.slot.state import Action, Observed, SlotRecord, Wanted

MAX_RESTARTS: Final = 8
"""How often an attempt is begun anew after something died under it."""

MAX_RETRIES: Final = 5
"""How often a release that failed for a reason that may pass is tried again, outside a rollout.

Inside one, a failed device stays failed until the manager asks for another attempt by its number:
the operator reads one answer, not a flicker."""

RETRY_FAILED: Final = timedelta(minutes=15)
"""Pause before such a release is tried again; doubled each time."""

FETCHING_DEADLINE: Final = timedelta(hours=24)
WAITING_DEADLINE: Final = timedelta(days=7)
WINDOW_DEADLINE: Final = timedelta(days=15)
"""Deadlines in trusted time: they hold over restarts. The last is that of both where windows are
set: of one that opens once a week two come and go."""

ACTIVATING_DEADLINE_S: Final = 120.0
PROBATION_GRACE_S: Final = 3600.0
VERDICT_GRACE_S: Final = 7 * 24 * 3600.0
ROLLING_BACK_DEADLINE_S: Final = 600.0
"""Deadlines in the supervisor's own monotonic time; restarts are counted instead."""

RESTARTS_COUNT: Final = frozenset({State.FETCHING, State.SHADOW, State.ACTIVATING, State.PROBATION})
"""States in which a restart may be the release's fault."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Everything that a rule may look at."""

    wanted: Wanted | None
    record: SlotRecord
    seen: Observed
    now: datetime

    @property
    def attempt(self) -> Attempt:
        assert self.record.attempt is not None  # noqa: S101 - rules run for attempts only
        return self.record.attempt


def plan(wanted: Wanted | None, record: SlotRecord, observed: Observed, now: datetime) -> Action:
    """The one next action of a slot."""
    slot = _Slot(wanted, record, observed, now)
    if record.attempt is not None and (lost := _lost(slot)) is not None:
        return lost
    if (order := obeyed(record, observed, now)) is not None:
        return order
    if (back := gone_back(record, observed, now)) is not None:
        return back
    if outlived(record, observed):
        return Settle()
    if record.attempt is None or record.attempt.state in ENDED:
        return _ended(slot)
    return _RULES[record.attempt.state](slot)


def resumed(attempt: Attempt) -> Attempt:
    """The attempt after the supervisor's own restart: counted where it may be the cause."""
    fetching = attempt.state is State.FETCHING and not attempt.fetched
    if attempt.state not in RESTARTS_COUNT or fetching:
        return attempt
    return replace(attempt, restarts=attempt.restarts + 1)


def _ended(slot: _Slot) -> Action:
    wanted, strayed = slot.wanted, _strayed(slot)
    if strayed is not None:
        return strayed
    if wanted is None or _is_done(slot, wanted):
        return _tidy(slot)
    attempt = _begin(slot, wanted)
    if wanted.refusal:
        return Enter(replace(attempt, state=State.FAILED, failure=wanted.refusal))
    order = slot.record.ordered.get(attempt.manifest)
    if order is None and _serves_already(slot, wanted):
        return _confirm(slot, attempt)
    away = said(attempt, order) if order is not None else _put_away(slot, attempt)
    return Enter(replace(attempt, state=State.QUARANTINED, failure=away) if away else attempt)


def _put_away(slot: _Slot, attempt: Attempt) -> Failure | None:
    """Why this device does not try a release again, if it does not."""
    reason = slot.record.quarantined.get(attempt.manifest)
    if reason is None:
        return None
    message = f"this device does not try these bytes again: {reason}"
    return _failure(attempt, FailureKind.PERMANENT, message)


def _begin(slot: _Slot, wanted: Wanted) -> Attempt:
    asked, last = wanted.assignment, slot.record.attempt
    again = last is not None and last.key == wanted.key
    return Attempt(
        asked.slot,
        asked.release,
        asked.manifest,
        asked.rollout,
        State.ACCEPTED,
        slot.now,
        policy=asked.policy,
        lease_until=asked.lease.expires if asked.lease else None,
        retries=last.retries + 1 if again and last is not None else 0,
        number=asked.attempt,
    )


def _is_done(slot: _Slot, wanted: Wanted) -> bool:
    """Whether this very attempt has ended already, and is not worth another one now."""
    last, asked = slot.record.attempt, wanted.assignment
    if last is None or not is_of(wanted, last):
        return False
    if last.state is State.QUARANTINED:
        return asked.manifest in {*slot.record.quarantined, *slot.record.ordered}
    if last.state is not State.FAILED or last.failure is None or by_operator(last):
        return True
    if last.failure.component == "verifier":
        return wanted.refusal is not None
    if asked.rollout or last.failure.kind is FailureKind.PERMANENT:
        return True
    pause = RETRY_FAILED * 2**last.retries
    return last.retries >= MAX_RETRIES or slot.now < last.since + pause


def _serves_already(slot: _Slot, wanted: Wanted) -> bool:
    lkg = slot.seen.lkg
    return (
        lkg is not None and lkg == slot.seen.active and lkg.manifest == wanted.assignment.manifest
    )


def _confirm(slot: _Slot, attempt: Attempt) -> Action:
    """A rollout asks for what already serves: the receipt says so, and nothing moves."""
    kept = (slot.record.committed, slot.record.before)
    before = next((each for each in kept if each and each.pointer == slot.seen.lkg), None)
    serving = slot.seen.serving
    if not attempt.rollout or before is None or serving is None:
        return _tidy(slot)
    if serving.active != slot.seen.active:
        return _tidy(slot)
    confirmed = replace(
        attempt,
        state=State.COMMITTED,
        choice=before.choice,
        limits=before.limits,
        traffic=serving.traffic,
    )
    return Enter(confirmed, receipt=SERVING)


def _strayed(slot: _Slot) -> Action | None:
    """Both pointers name what was committed last, before it is judged what serves already."""
    last = slot.record.attempt
    good = last.pointer if last is not None and last.state is State.COMMITTED else None
    if good is not None and slot.seen.lkg != good:
        return SetPointer(LKG, good)
    return _put_back(slot)


def _tidy(slot: _Slot) -> Action:
    """Between attempts: probation and workers as the last attempt left them."""
    seen, serving = slot.seen, slot.seen.serving
    if serving is None:
        return Rest()
    if serving.active != seen.active and seen.active is not None:
        return Restore(seen.active)
    if serving.probation:
        return Settle()
    return DropWorkers(serving.standby) if serving.standby else Rest()


def _accepted(slot: _Slot) -> Action:
    return _superseded(slot) or _enter(slot, State.FETCHING)


def _fetching(slot: _Slot) -> Action:
    attempt = slot.attempt
    early = _superseded(slot) or _put_back(slot) or _worn_out(slot)
    if early:
        return early
    deadline = WINDOW_DEADLINE if attempt.policy.download else FETCHING_DEADLINE
    if slot.now > attempt.since + deadline:
        return _fail(slot, f"it could not be fetched and staged within {deadline.days} days")
    if attempt.retry_at is not None and slot.now < attempt.retry_at:
        return Rest()
    if not attempt.fetched:
        known, _ = granted(attempt, slot.wanted, slot.seen)
        return Rest() if before_fetching(known, slot.seen, slot.now) else Fetch(known)
    return Rest() if slot.seen.serving is None else Stage(attempt)


def _staged(slot: _Slot) -> Action:
    early = _superseded(slot) or _put_back(slot) or _worn_out(slot)
    if early:
        return early
    serving = slot.seen.serving
    if serving is not None and _worker(slot.attempt) not in serving.standby:
        switched_off = slot.attempt.staged_in not in ("", slot.seen.boot)
        return _stage_anew(slot, counted=not switched_off)
    return _when_allowed(slot)


def _when_allowed(slot: _Slot) -> Action:
    attempt, news = granted(slot.attempt, slot.wanted, slot.seen)
    obstacle = before_activation(attempt, slot.seen, slot.now)
    if obstacle is None:
        tried = attempt.state is not State.SHADOW and wants_copies(attempt, slot.seen.serving)
        moved = Enter(_moved(attempt, State.SHADOW if tried else State.ACTIVATING, slot.now))
        return Rest() if slot.seen.serving is None else moved
    if attempt.state is State.STAGED:
        boot = slot.seen.boot
        waiting = replace(attempt, boot=attempt.boot or boot, staged_in=boot)
        return Enter(_moved(waiting, State.WAITING, slot.now))
    deadline = WINDOW_DEADLINE if attempt.policy.activation else WAITING_DEADLINE
    if slot.now > attempt.since + deadline:
        return _fail(slot, f"after {deadline.days} days {obstacle.reason}")
    if news:
        return Remember(attempt)
    # Only the lease is missing, and it ran out: a new document brings another.
    expired = obstacle.kind == LEASE and attempt.lease_until is not None
    return AskDocument() if expired else Rest()


def _shadow(slot: _Slot) -> Action:
    early = _superseded(slot) or _put_back(slot) or _worn_out(slot)
    if early:
        return early
    serving, worker = slot.seen.serving, _worker(slot.attempt)
    if serving is None:
        return Rest()
    if worker not in serving.standby:
        return _stage_anew(slot)
    action = while_copied(slot.attempt, worker, slot.seen, slot.now)
    return action or _when_allowed(slot)


def _activating(slot: _Slot) -> Action:
    attempt, seen, pointer = slot.attempt, slot.seen, slot.attempt.pointer
    if seen.in_state_s > ACTIVATING_DEADLINE_S or attempt.restarts > MAX_RESTARTS:
        return _go_back(slot, FailureKind.ENVIRONMENTAL, "it could not be activated in time")
    if pointer is None:
        return _stage_anew(slot)
    if seen.active != pointer:
        return SetPointer(ACTIVE, pointer)
    if seen.serving is None:
        return Rest()
    if seen.serving.active == pointer:
        return _enter(slot, State.PROBATION)
    worker = _worker(attempt)
    switch = Switch(worker, attempt.policy.trial.share)
    return switch if worker in seen.serving.standby else _stage_anew(slot)


def _probation(slot: _Slot) -> Action:
    hopeless, serving, lkg = _hopeless(slot), slot.seen.serving, slot.seen.lkg
    if hopeless:
        return hopeless
    if serving is None or serving.active is None:
        return Rest()
    if serving.active != slot.attempt.pointer:
        return _stage_anew(slot)
    if not serving.probation and lkg not in (None, serving.active):
        # The endpoint restarted: nothing answers for the release where it fails.
        return Restore(lkg)
    return _judged(slot)


def _hopeless(slot: _Slot) -> Action | None:
    attempt = slot.attempt
    if attempt.restarts > MAX_RESTARTS:
        return _go_back(slot, FailureKind.PERMANENT, "the device restarted too often under it")
    # What began as a challenge has that long, also when it was promoted a moment ago.
    grace = VERDICT_GRACE_S if attempt.policy.trial.awaits else PROBATION_GRACE_S
    if slot.seen.in_state_s > _limits(attempt).deadline_seconds + grace:
        return _go_back(
            slot, FailureKind.ENVIRONMENTAL, undecided(slot.attempt, slot.wanted, slot.seen)
        )
    if _taken_back(slot):
        return _go_back(slot, FailureKind.TRANSIENT, "the director took it back")
    return None


def _limits(attempt: Attempt) -> ProbationLimits:
    return lengthened(attempt.limits, attempt.policy.trial.seconds)


def _judged(slot: _Slot) -> Action:
    serving = slot.seen.serving
    assert serving is not None  # noqa: S101 - asked by the rule before
    verdict = judge(serving.traffic, _limits(slot.attempt), slot.seen.in_state_s, serving.broke)
    if verdict.decision is Decision.BACK:
        return _go_back(slot, FailureKind.PERMANENT, verdict.reason)
    if awaits(slot.attempt, slot.wanted, slot.seen) or not _may_commit(
        slot, healthy=verdict.decision is Decision.KEEP
    ):
        return Rest()
    committed = replace(slot.attempt, traffic=serving.traffic, failure=None)
    return Enter(_moved(committed, State.COMMITTED, slot.now), receipt=SERVING)


def _may_commit(slot: _Slot, *, healthy: bool) -> bool:
    match slot.attempt.policy.commit:
        case Commit.LOCAL_HEALTH:
            return healthy
        case Commit.SERVER_ACK:
            return slot.seen.told
        case Commit.BOTH:
            return healthy and slot.seen.told


def _rolling_back(slot: _Slot) -> Action:
    attempt, seen, before = slot.attempt, slot.seen, slot.record.committed
    allowed = before is not None and before.manifest not in slot.record.ordered
    good = before.pointer if before and allowed and by_operator(attempt) else None
    if good is not None and seen.lkg != good:
        return SetPointer(LKG, good)
    strayed = _put_back(slot)
    if strayed is not None:
        return strayed
    bad = attempt.failure is not None and attempt.failure.kind is FailureKind.PERMANENT
    nothing_better = seen.lkg is None
    if nothing_better or (seen.serving is not None and seen.serving.active == seen.lkg):
        ended = _moved(attempt, State.ROLLED_BACK, slot.now)
        return Enter(ended, receipt=ROLLED_BACK, quarantine=bad)
    if seen.in_state_s > ROLLING_BACK_DEADLINE_S:
        return Enter(_moved(attempt, State.SAFE_MODE, slot.now), quarantine=bad)
    return Rest() if seen.serving is None or seen.lkg is None else Restore(seen.lkg)


_RULES: Final[Mapping[State, Callable[[_Slot], Action]]] = {
    State.ACCEPTED: _accepted,
    State.FETCHING: _fetching,
    State.STAGED: _staged,
    State.WAITING: _staged,
    State.SHADOW: _shadow,
    State.ACTIVATING: _activating,
    State.PROBATION: _probation,
    State.ROLLING_BACK: _rolling_back,
}


def _superseded(slot: _Slot) -> Action | None:
    """Before activation the director may change its mind at no cost."""
    if not slot.seen.heard:
        return None
    if slot.wanted is None or slot.attempt.key != slot.wanted.key:
        return GiveUp(slot.attempt)
    if slot.wanted.refusal:
        failed = replace(slot.attempt, failure=slot.wanted.refusal)
        return Enter(_moved(failed, State.FAILED, slot.now))
    return None


def _put_back(slot: _Slot) -> Action | None:
    """The active pointer goes back to the last known good; without one it stays as it is."""
    lkg = slot.seen.lkg
    return SetPointer(ACTIVE, lkg) if lkg is not None and slot.seen.active != lkg else None


def _worn_out(slot: _Slot) -> Action | None:
    if slot.attempt.restarts <= MAX_RESTARTS:
        return None
    return _fail(slot, "it was begun anew too often: something dies whenever it is loaded")


def _stage_anew(slot: _Slot, *, counted: bool = True) -> Action:
    """Counted where it may be the release's fault, not where the machine was switched off."""
    again = replace(slot.attempt, choice=None, restarts=slot.attempt.restarts + counted)
    return Enter(_moved(again, State.FETCHING, slot.now))


def _lost(slot: _Slot) -> Action | None:
    """What was taken out of service from outside goes back; its pointers did already."""
    serving, attempt = slot.seen.serving, slot.attempt
    given_up = serving.given_up if serving is not None else None
    if given_up is None or given_up.manifest != attempt.manifest:
        return None
    if attempt.state in (State.ACTIVATING, State.PROBATION):
        return _go_back(slot, FailureKind.PERMANENT, given_up.reason)
    if attempt.state is not State.COMMITTED:
        return None
    failure = _failure(attempt, FailureKind.PERMANENT, given_up.reason)
    back = replace(_moved(attempt, State.ROLLED_BACK, slot.now), failure=failure)
    return Enter(back, receipt=ROLLED_BACK, quarantine=True)


def _taken_back(slot: _Slot) -> bool:
    """Whether the director wants the last known good model again."""
    if slot.wanted is None or slot.seen.lkg is None or slot.wanted.refusal:
        return False
    asked = slot.wanted.assignment.manifest
    return asked == slot.seen.lkg.manifest and asked != slot.attempt.manifest


def _go_back(slot: _Slot, kind: FailureKind, message: str) -> Action:
    traffic = slot.seen.serving.traffic if slot.seen.serving else slot.attempt.traffic
    failure = _failure(slot.attempt, kind, message)
    back = replace(slot.attempt, traffic=traffic, failure=failure)
    return Enter(_moved(back, State.ROLLING_BACK, slot.now))


def _fail(slot: _Slot, message: str) -> Action:
    failure = slot.attempt.failure or _failure(slot.attempt, FailureKind.TRANSIENT, message)
    return Enter(_moved(replace(slot.attempt, failure=failure), State.FAILED, slot.now))


def _enter(slot: _Slot, state: State) -> Enter:
    return Enter(_moved(slot.attempt, state, slot.now))


def _moved(attempt: Attempt, state: State, now: datetime) -> Attempt:
    return replace(attempt, state=state, since=now)


def _worker(attempt: Attempt) -> str:
    return attempt.choice.proved.worker if attempt.choice else ""


def _failure(attempt: Attempt, kind: FailureKind, message: str) -> Failure:
    return Failure(kind, str(attempt.state), "supervisor", str(attempt.release), message)
