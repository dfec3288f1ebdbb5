from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.failure import FailureKind
from sealane.holds import Hold
from sealane.policy import Commit, Policy, Trial, Trigger
from sealane.receipt import ROLLED_BACK
from sealane.windows import parse_window
from sealane_agent.layout import ACTIVE, LKG, Pointer
from sealane_agent.serving.messages import GivenUp, SlotStatus, Traffic
from sealane_agent.slot.plan import MAX_RESTARTS, RETRY_FAILED, plan, resumed
from sealane_agent.slot.state import (
    AskDocument,
    Attempt,
    Choice,
    DropWorkers,
    Enter,
    Fetch,
    GiveUp,
    Observed,
    Remember,
    Rest,
    Restore,
    SetPointer,
    SlotRecord,
    Stage,
    State,
    Switch,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, failure, pointer, proved

if TYPE_CHECKING:
    from datetime import datetime

SOON = START + timedelta(seconds=60)
CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))
OLD, NEW = pointer(1), pointer(2)
HOLD = Hold("h1", "cam", "press 7", "batch 12 is running", START + timedelta(minutes=30))


def attempt(state: State, version: int = 2, **changes: object) -> Attempt:
    made = Attempt(CAM, pointer(version).release, digest(version), "r1", state, START)
    if state not in {State.ACCEPTED, State.FETCHING, State.FAILED}:
        made = replace(made, fetched=True, choice=CHOICE)
    return replace(made, **changes)  # type: ignore[arg-type]  # tests name fields of Attempt


def seen(
    serving: SlotStatus | None,
    active: Pointer | None = OLD,
    *,
    heard: bool = True,
    for_s: float = 0.0,
) -> Observed:
    return Observed(heard=heard, active=active, lkg=OLD, serving=serving, in_state_s=for_s)


def status(
    active: Pointer = OLD,
    *,
    probation: bool = False,
    standby: tuple[str, ...] = (),
    traffic: Traffic | None = None,
) -> SlotStatus:
    return SlotStatus(CAM, active, "cam-1", None, probation, standby, traffic or Traffic())


def record(made: Attempt | None, **changes: object) -> SlotRecord:
    return replace(SlotRecord(CAM, made), **changes)  # type: ignore[arg-type]  # see above


def wanted(version: int = 2, rollout: str = "r1", *, leased: bool = True) -> Wanted:
    return Wanted(assignment(version, rollout, SOON if leased else None))


def entered(action: object) -> Attempt:
    assert isinstance(action, Enter)
    return action.attempt


def test_a_new_assignment_begins_an_attempt() -> None:
    made = entered(plan(wanted(), record(None), seen(status()), START))
    assert (made.state, made.manifest, made.rollout) == (State.ACCEPTED, digest(2), "r1")


def test_a_quarantined_digest_ends_at_once() -> None:
    away = record(None, quarantined={digest(2): "it crashed"})
    made = entered(plan(wanted(), away, seen(status()), START))
    assert made.state is State.QUARANTINED
    assert made.failure is not None
    assert "it crashed" in made.failure.message


@pytest.mark.parametrize("state", [State.ACTIVATING, State.PROBATION])
def test_what_was_taken_out_of_service_during_its_trial_goes_back_for_good(state: State) -> None:
    there = replace(status(), given_up=GivenUp(digest(2), "it hung"))
    made = entered(plan(wanted(), record(attempt(state)), seen(there), START))
    assert made.state is State.ROLLING_BACK
    assert made.failure is not None
    assert (made.failure.kind, made.failure.message) == (FailureKind.PERMANENT, "it hung")
    last = plan(wanted(), record(made), seen(there), START)
    assert isinstance(last, Enter)
    assert (last.attempt.state, last.receipt) == (State.ROLLED_BACK, ROLLED_BACK)
    assert last.quarantine


def test_what_was_kept_and_taken_out_of_service_later_is_told_and_never_tried_again() -> None:
    there = replace(status(), given_up=GivenUp(digest(2), "it ended 3 times"))
    found = plan(wanted(), record(attempt(State.COMMITTED)), seen(there), START)
    assert isinstance(found, Enter)
    assert (found.attempt.state, found.receipt) == (State.ROLLED_BACK, ROLLED_BACK)
    assert found.quarantine
    after = record(found.attempt, quarantined={digest(2): "it ended 3 times"})
    assert isinstance(plan(wanted(), after, seen(there), START), Rest)


def test_what_was_taken_out_of_service_before_says_nothing_of_another_release() -> None:
    there = replace(status(), given_up=GivenUp(digest(9), "it hung"))
    assert entered(plan(wanted(), record(None), seen(there), START)).state is State.ACCEPTED
    kept = record(attempt(State.COMMITTED, 1))
    assert isinstance(plan(wanted(1), kept, seen(there), START), SetPointer | Rest)


def test_a_refused_release_fails_and_says_why() -> None:
    no = failure(FailureKind.PERMANENT, component="verifier", message="not listed")
    made = entered(plan(Wanted(assignment(2), no), record(None), seen(status()), START))
    assert (made.state, made.failure) == (State.FAILED, no)


def test_a_release_that_was_refused_is_tried_once_it_is_approved() -> None:
    no = failure(FailureKind.PERMANENT, component="verifier")
    last = attempt(State.FAILED, failure=no)
    assert isinstance(plan(Wanted(assignment(2), no), record(last), seen(status()), START), Rest)
    assert entered(plan(wanted(), record(last), seen(status()), START)).state is State.ACCEPTED


def test_after_an_attempt_was_given_up_its_pointer_goes_back_before_anything_begins() -> None:
    flipped = seen(status(), active=NEW)
    assert plan(wanted(1), record(None), flipped, START) == SetPointer(ACTIVE, OLD)
    assert plan(wanted(3), record(None), flipped, START) == SetPointer(ACTIVE, OLD)


def test_an_attempt_that_ended_is_not_begun_again() -> None:
    last = attempt(State.ROLLED_BACK)
    assert isinstance(plan(wanted(), record(last), seen(status()), START), Rest)


def test_outside_a_rollout_a_full_disk_is_tried_again_later() -> None:
    full = failure(FailureKind.ENVIRONMENTAL)
    last = attempt(State.FAILED, rollout="", failure=full)
    later = START + RETRY_FAILED
    assert isinstance(plan(wanted(rollout=""), record(last), seen(status()), START), Rest)
    made = entered(plan(wanted(rollout=""), record(last), seen(status()), later))
    assert (made.state, made.retries) == (State.ACCEPTED, 1)


def test_inside_a_rollout_a_failed_device_stays_failed() -> None:
    last = attempt(State.FAILED, failure=failure(FailureKind.ENVIRONMENTAL))
    later = START + timedelta(days=1)
    assert isinstance(plan(wanted(), record(last), seen(status()), later), Rest)


def test_what_serves_already_is_confirmed_by_a_receipt_and_nothing_moves() -> None:
    good = attempt(State.COMMITTED, version=1)
    known = record(attempt(State.ROLLED_BACK), committed=good)
    counted = status(traffic=Traffic(7))
    action = plan(wanted(1, "r2"), known, seen(counted), START)
    assert isinstance(action, Enter)
    assert action.receipt == "serving"
    assert (action.attempt.state, action.attempt.traffic.requests) == (State.COMMITTED, 7)


def test_what_serves_already_needs_no_receipt_outside_a_rollout() -> None:
    good = attempt(State.COMMITTED, version=1)
    known = record(attempt(State.ROLLED_BACK), committed=good)
    assert isinstance(plan(wanted(1, ""), known, seen(status()), START), Rest)


@pytest.mark.parametrize(
    "state", [State.ACCEPTED, State.FETCHING, State.STAGED, State.WAITING], ids=str
)
def test_before_activation_the_director_may_change_its_mind(state: State) -> None:
    known = record(attempt(state))
    assert isinstance(plan(None, known, seen(status()), START), GiveUp)
    assert isinstance(plan(wanted(3), known, seen(status()), START), GiveUp)


def test_without_a_document_an_attempt_goes_on_but_does_not_activate() -> None:
    unheard = seen(status(standby=("cam-9",)), heard=False)
    fetching = plan(None, record(attempt(State.FETCHING)), unheard, START)
    assert isinstance(fetching, Fetch)
    assert entered(plan(None, record(attempt(State.STAGED)), unheard, START)).state is State.WAITING
    assert isinstance(plan(None, record(attempt(State.WAITING)), unheard, START), Rest)


def test_fetched_blobs_are_staged_when_the_endpoint_answers() -> None:
    known = record(attempt(State.FETCHING, fetched=True))
    assert isinstance(plan(wanted(), known, seen(None), START), Rest)
    assert isinstance(plan(wanted(), known, seen(status()), START), Stage)


def test_a_transient_failure_waits_for_its_time() -> None:
    known = record(attempt(State.FETCHING, retry_at=START + timedelta(seconds=5)))
    assert isinstance(plan(wanted(), known, seen(status()), START), Rest)
    later = START + timedelta(seconds=5)
    assert isinstance(plan(wanted(), known, seen(status()), later), Fetch)


def test_a_fetch_that_takes_more_than_a_day_fails() -> None:
    late = START + timedelta(hours=25)
    known = record(attempt(State.FETCHING))
    assert entered(plan(wanted(), known, seen(status()), late)).state is State.FAILED


def test_without_a_lease_a_staged_release_waits() -> None:
    ready = seen(status(standby=("cam-9",)))
    staged, unleased = record(attempt(State.STAGED)), wanted(leased=False)
    assert entered(plan(unleased, staged, ready, START)).state is State.WAITING
    waiting = record(attempt(State.WAITING))
    assert isinstance(plan(unleased, waiting, ready, START), Rest)
    assert entered(plan(wanted(), waiting, ready, START)).state is State.ACTIVATING


def test_a_lease_that_ran_out_is_asked_for_again() -> None:
    ready, late = seen(status(standby=("cam-9",))), SOON + timedelta(seconds=1)
    waiting = record(attempt(State.WAITING, lease_until=SOON))
    assert isinstance(plan(wanted(), waiting, ready, late), AskDocument)


def test_a_new_lease_is_remembered_for_a_time_offline() -> None:
    held = replace(seen(status(standby=("cam-9",))), holds=(HOLD,))
    action = plan(wanted(), record(attempt(State.WAITING)), held, START)
    assert isinstance(action, Remember)
    assert action.attempt.lease_until == SOON


def test_after_a_restart_offline_a_remembered_lease_still_activates() -> None:
    ready = seen(status(standby=("cam-9",)), heard=False)
    waiting = record(attempt(State.WAITING, lease_until=SOON))
    assert entered(plan(None, waiting, ready, START)).state is State.ACTIVATING
    assert isinstance(plan(None, waiting, ready, SOON), AskDocument)


def test_a_hold_keeps_a_staged_release_waiting_until_it_ends() -> None:
    held = replace(seen(status(standby=("cam-9",))), holds=(HOLD,))
    assert entered(plan(wanted(), record(attempt(State.STAGED)), held, START)).state is (
        State.WAITING
    )
    leased = wanted_for(timedelta(hours=1))
    waiting = record(attempt(State.WAITING, lease_until=leased.assignment.lease.expires))  # type: ignore[union-attr]  # it is leased
    assert plan(leased, waiting, held, START) == Rest()
    assert entered(plan(leased, waiting, held, HOLD.until)).state is State.ACTIVATING


def wanted_for(lease: timedelta, policy: Policy = Policy()) -> Wanted:  # noqa: B008 - it is frozen
    return Wanted(replace(assignment(2, "r1", START + lease), policy=policy))


def allowed(policy: Policy, now: datetime, **changes: object) -> bool:
    """Whether a staged release under this policy is activated now."""
    ready = replace(seen(status(standby=("cam-9",))), **changes)  # type: ignore[arg-type]  # see above
    staged = record(attempt(State.WAITING, boot="first"))
    action = plan(wanted_for(timedelta(days=9), policy), staged, ready, now)
    return isinstance(action, Enter) and action.attempt.state is State.ACTIVATING


def test_it_is_activated_in_its_window_on_the_devices_own_clock() -> None:
    night = Policy(activation=((parse_window("daily 22:00-05:00"),),))
    assert not allowed(night, START + timedelta(hours=21, minutes=30))
    tokyo = ZoneInfo("Asia/Tokyo")
    assert allowed(night, START + timedelta(hours=13, minutes=30), zone=tokyo)


def test_an_emergency_waits_for_no_window_but_for_a_hold() -> None:
    night = Policy(activation=((parse_window("daily 22:00-05:00"),),), trigger=Trigger.NOW)
    noon = START + timedelta(hours=12)
    assert allowed(night, noon)
    assert not allowed(night, START, holds=(HOLD,))


def test_an_idle_trigger_waits_for_a_quiet_minute_and_a_restart_for_another_boot() -> None:
    idle, restart = Policy(trigger=Trigger.IDLE), Policy(trigger=Trigger.RESTART)
    assert not allowed(idle, START, quiet_s=59.0)
    assert allowed(idle, START, quiet_s=60.0)
    assert not allowed(restart, START, boot="first")
    assert allowed(restart, START, boot="second")


def test_blobs_move_only_in_the_download_window() -> None:
    night = Policy(download=((parse_window("daily 22:00-05:00"),),))
    fetching = record(attempt(State.FETCHING, fetched=False))
    noon, late = START + timedelta(hours=12), START + timedelta(hours=22)
    assert plan(wanted_for(timedelta(days=1), night), fetching, seen(None), noon) == Rest()
    assert isinstance(plan(wanted_for(timedelta(days=1), night), fetching, seen(None), late), Fetch)


@pytest.mark.parametrize(
    ("commit", "healthy", "told", "kept"),
    [
        (Commit.LOCAL_HEALTH, True, False, True),
        (Commit.LOCAL_HEALTH, False, True, False),
        (Commit.SERVER_ACK, False, True, True),
        (Commit.SERVER_ACK, True, False, False),
        (Commit.BOTH, True, False, False),
        (Commit.BOTH, False, True, False),
        (Commit.BOTH, True, True, True),
    ],
)
def test_what_makes_a_release_the_last_known_good_one_is_its_policys_word(
    commit: Commit, *, healthy: bool, told: bool, kept: bool
) -> None:
    known = record(attempt(State.PROBATION, policy=Policy(commit=commit)))
    serving = replace(status(NEW, probation=True), traffic=Traffic(100))
    looked = replace(seen(serving, NEW, for_s=60.0 if healthy else 1.0), told=told)
    action = plan(wanted(), known, looked, START)
    assert (isinstance(action, Enter) and action.attempt.state is State.COMMITTED) is kept


def test_without_the_acknowledgement_that_its_policy_demands_it_goes_back() -> None:
    known = record(attempt(State.PROBATION, policy=Policy(commit=Commit.BOTH)))
    looked = replace(seen(status(NEW, probation=True), NEW, for_s=10_000.0), told=False)
    back = entered(plan(wanted(), known, looked, START))
    assert back.state is State.ROLLING_BACK
    assert back.failure is not None
    assert back.failure.kind is FailureKind.ENVIRONMENTAL
    assert "acknowledgement" in back.failure.message


def test_a_standby_that_was_lost_is_staged_anew_and_counted() -> None:
    made = entered(plan(wanted(), record(attempt(State.WAITING)), seen(status()), START))
    assert (made.state, made.fetched, made.restarts) == (State.FETCHING, True, 1)


def test_a_machine_that_is_switched_off_every_night_wears_no_waiting_release_out() -> None:
    waiting = attempt(State.WAITING, boot="first", staged_in="first")
    looked = replace(seen(status()), boot="second")
    made = entered(plan(wanted(), record(waiting), looked, START))
    assert (made.state, made.restarts, made.boot) == (State.FETCHING, 0, "first")


def test_a_release_under_which_something_always_dies_fails() -> None:
    known = record(attempt(State.FETCHING, fetched=True, restarts=MAX_RESTARTS + 1))
    assert entered(plan(wanted(), known, seen(status()), START)).state is State.FAILED


def test_the_pointer_is_flipped_before_the_endpoint_is_told() -> None:
    known, ready = record(attempt(State.ACTIVATING)), status(standby=("cam-9",))
    assert plan(wanted(), known, seen(ready), START) == SetPointer(ACTIVE, NEW)
    assert plan(wanted(), known, seen(ready, active=NEW), START) == Switch("cam-9")
    serving = seen(status(NEW, probation=True), active=NEW)
    assert entered(plan(wanted(), known, serving, START)).state is State.PROBATION


def test_a_release_that_is_tried_gets_its_share_and_its_time() -> None:
    tried = Policy(trial=Trial(0.25, 600))
    known = record(attempt(State.ACTIVATING, policy=tried))
    ready = status(standby=("cam-9",))
    assert plan(wanted(), known, seen(ready, active=NEW), START) == Switch("cam-9", 0.25)
    known = record(attempt(State.PROBATION, policy=tried))
    healthy = status(NEW, probation=True, traffic=Traffic(500))
    assert plan(wanted(), known, seen(healthy, NEW, for_s=599), START) == Rest()
    kept = entered(plan(wanted(), known, seen(healthy, NEW, for_s=600), START))
    assert kept.state is State.COMMITTED


def test_an_interrupted_activation_puts_the_pointer_back() -> None:
    known = record(attempt(State.FETCHING, fetched=True))
    assert plan(wanted(), known, seen(status(), active=NEW), START) == SetPointer(ACTIVE, OLD)


def test_a_release_that_keeps_its_limits_is_committed_with_a_receipt() -> None:
    known = record(attempt(State.PROBATION, limits=ProbationLimits(seconds=10)))
    counted = status(NEW, probation=True, traffic=Traffic(50))
    watched = plan(wanted(), known, seen(counted, active=NEW, for_s=9), START)
    assert isinstance(watched, Rest)
    action = plan(wanted(), known, seen(counted, active=NEW, for_s=10), START)
    assert isinstance(action, Enter)
    assert (action.attempt.state, action.receipt) == (State.COMMITTED, "serving")
    assert action.attempt.traffic.requests == 50


def test_the_last_known_good_pointer_moves_only_after_commit() -> None:
    known = record(attempt(State.COMMITTED))
    serving = seen(status(NEW, probation=True), active=NEW)
    assert plan(wanted(), known, serving, START) == SetPointer(LKG, NEW)


def test_a_broken_limit_goes_back_and_quarantines() -> None:
    known = record(attempt(State.PROBATION))
    crashed = status(NEW, probation=True, traffic=Traffic(5, crashes=1))
    back = plan(wanted(), known, seen(crashed, active=NEW), START)
    made = entered(back)
    assert (made.state, made.traffic.crashes) == (State.ROLLING_BACK, 1)
    rolling = record(made)
    assert plan(wanted(), rolling, seen(crashed, active=NEW), START) == SetPointer(ACTIVE, OLD)
    assert plan(wanted(), rolling, seen(crashed), START) == Restore(OLD)
    ended = plan(wanted(), rolling, seen(status()), START)
    assert isinstance(ended, Enter)
    assert (ended.attempt.state, ended.receipt) == (State.ROLLED_BACK, "rolled_back")
    assert ended.quarantine


def test_a_release_that_the_director_takes_back_is_not_quarantined() -> None:
    known = record(attempt(State.PROBATION))
    fine = seen(status(NEW, probation=True), active=NEW)
    made = entered(plan(wanted(1, "r2"), known, fine, START))
    assert made.state is State.ROLLING_BACK
    ended = plan(wanted(1, "r2"), record(made), seen(status()), START)
    assert isinstance(ended, Enter)
    assert not ended.quarantine


def test_another_release_waits_until_the_probation_is_over() -> None:
    known = record(attempt(State.PROBATION))
    fine = seen(status(NEW, probation=True), active=NEW)
    assert isinstance(plan(wanted(3), known, fine, START), Rest)


def test_no_expiry_and_no_missing_document_ends_a_probation() -> None:
    known = record(attempt(State.PROBATION))
    fine = seen(status(NEW, probation=True), active=NEW, heard=False)
    assert isinstance(plan(None, known, fine, START + timedelta(days=3650)), Rest)


def test_after_the_endpoint_died_in_probation_the_old_model_answers_first() -> None:
    known = record(attempt(State.PROBATION))
    alone = seen(status(NEW), active=NEW)
    assert plan(wanted(), known, alone, START) == Restore(OLD)
    restored = seen(status(OLD), active=NEW)
    assert entered(plan(wanted(), known, restored, START)).state is State.FETCHING


def test_a_probation_of_the_last_known_good_itself_has_nothing_to_go_back_to() -> None:
    made = attempt(State.PROBATION, 1, limits=ProbationLimits(seconds=0))
    done = plan(wanted(1), record(made), seen(status()), START)
    assert entered(done).state is State.COMMITTED


def test_without_a_last_known_good_a_bad_release_goes_on_answering() -> None:
    bad = attempt(State.ROLLING_BACK, failure=failure(FailureKind.PERMANENT))
    first = Observed(heard=True, active=NEW, lkg=None, serving=status(NEW, probation=True))
    ended = plan(wanted(), record(bad), first, START)
    assert isinstance(ended, Enter)
    assert (ended.attempt.state, ended.quarantine) == (State.ROLLED_BACK, True)


def test_an_endpoint_that_cannot_go_back_ends_in_safe_mode() -> None:
    bad = attempt(State.ROLLING_BACK, failure=failure(FailureKind.PERMANENT))
    stuck = seen(status(NEW), for_s=601)
    assert entered(plan(wanted(), record(bad), stuck, START)).state is State.SAFE_MODE


def test_between_attempts_the_endpoint_serves_what_the_pointer_says() -> None:
    known = record(attempt(State.SAFE_MODE))
    assert plan(wanted(), known, seen(status(NEW)), START) == Restore(OLD)


def test_standbys_that_nobody_needs_are_dropped() -> None:
    known = record(attempt(State.FAILED, failure=failure(FailureKind.PERMANENT)))
    left = seen(status(standby=("cam-7",)))
    assert plan(wanted(), known, left, START) == DropWorkers(("cam-7",))


def test_only_restarts_that_a_release_may_have_caused_are_counted() -> None:
    assert resumed(attempt(State.FETCHING)).restarts == 0
    assert resumed(attempt(State.WAITING)).restarts == 0
    assert resumed(attempt(State.FETCHING, fetched=True)).restarts == 1
    assert resumed(attempt(State.PROBATION)).restarts == 1


def test_a_failed_attempt_begins_again_when_the_manager_asks_by_its_next_number() -> None:
    last = attempt(State.FAILED, failure=failure(FailureKind.ENVIRONMENTAL))
    assert isinstance(plan(wanted(), record(last), seen(status()), START), Rest)
    again = Wanted(replace(assignment(2, "r1", SOON), attempt=1))
    made = entered(plan(again, record(last), seen(status()), START))
    assert (made.state, made.number, made.retries) == (State.ACCEPTED, 1, 0)
    ended = record(replace(made, state=State.FAILED))
    assert isinstance(plan(again, ended, seen(status()), SOON), Rest)


def test_another_number_does_not_bring_back_what_cannot_work_here() -> None:
    again = Wanted(replace(assignment(2, "r1", SOON), attempt=1))
    away = record(attempt(State.FAILED), quarantined={digest(2): "it crashed"})
    assert entered(plan(again, away, seen(status()), START)).state is State.QUARANTINED
    ended = attempt(State.FAILED, failure=failure(FailureKind.ENVIRONMENTAL, "operator"))
    assert isinstance(plan(again, record(ended), seen(status()), START), Rest)


def test_what_is_under_way_makes_room_for_the_attempt_that_is_asked_for() -> None:
    again = Wanted(replace(assignment(2, "r1", SOON), attempt=1))
    assert isinstance(plan(again, record(attempt(State.STAGED)), seen(status()), START), GiveUp)
