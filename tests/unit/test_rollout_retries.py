"""Which failed devices are tried again: by the class of the failure, so often, within deadlines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.failure import Failure, FailureKind
from sealane_manager.gate.ruling import decide
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.case import case
from sealane_manager.rollout.observe import proven, reported, target
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.retries import LONGEST, pause, to_try_again
from sealane_manager.rollout.terms import Pace, Retries, Terms, Times
from sealane_manager.rollout.types import (
    DeviceState,
    Grant,
    Operation,
    Rollout,
    RolloutDevice,
    RolloutState,
    TakeBack,
)
from support.rollouts import (
    MANIFEST,
    START,
    a_device,
    a_failure,
    a_receipt,
    a_report,
    a_rollout,
    a_spec,
)

FAILED, BACK, SERVING = DeviceState.FAILED, DeviceState.ROLLED_BACK, DeviceState.SERVING
LEASED, PROBATION = DeviceState.LEASED, DeviceState.PROBATION
MAY_PASS = (FailureKind.TRANSIENT, FailureKind.ENVIRONMENTAL)
TWICE = Retries(2, timedelta(minutes=10))
MINUTE = timedelta(minutes=1)


def running(*members: RolloutDevice, retries: Retries = TWICE, **terms: Any) -> Rollout:
    spec = a_spec("100%", terms=Terms(retries=retries, **terms))
    return a_rollout(spec, members, began_at=START, stage_since=START)


def failed(name: str = "d1", kind: FailureKind = FailureKind.ENVIRONMENTAL, **changes: Any) -> Any:
    return a_device(name, FAILED, failure=kind, detail="the disk is full", **changes)


def device_of(rollout: Rollout) -> RolloutDevice:
    return rollout.devices[0]


@pytest.mark.parametrize("kind", MAY_PASS)
def test_a_failure_that_may_pass_is_tried_again_and_the_gate_holds_until_then(
    kind: FailureKind,
) -> None:
    step = advance(running(failed(kind=kind)), START)
    device = device_of(step.rollout)
    assert device.retry_at is not None
    assert START <= device.retry_at < START + TWICE.delay
    assert step.rollout.state is RolloutState.RUNNING
    assert "the disk is full; attempt 2 of 3 from 2026-03-01 08:" in step.rollout.reason
    again = advance(step.rollout, device.retry_at)
    assert again.decisions == (Grant(device.device, 1),)
    device = device_of(again.rollout)
    assert (device.state, device.attempt, device.retry_at) == (LEASED, 1, None)


def test_a_permanent_failure_is_never_tried_again() -> None:
    step = advance(running(failed(kind=FailureKind.PERMANENT)), START)
    assert step.rollout.state is RolloutState.REVERTED
    assert device_of(step.rollout).retry_at is None


def test_a_failure_of_which_nothing_is_known_is_not_tried_again() -> None:
    assert to_try_again(running(a_device("d1", FAILED))) == ()


def test_without_retries_every_failure_is_one() -> None:
    assert to_try_again(running(failed(), retries=Retries())) == ()


def test_after_the_last_attempt_it_has_failed_and_counts_once() -> None:
    last = running(failed(attempt=2), a_device("d2", SERVING))
    facts = case(last, START, soaked=False).facts
    assert (facts.lost, facts.limit) == (1, 0)
    assert advance(last, START).rollout.state is RolloutState.REVERTING


def test_what_had_served_and_broke_is_not_tried_again() -> None:
    assert to_try_again(running(failed(served=True))) == ()


def test_an_attempt_begins_within_the_deadlines_or_not_at_all() -> None:
    soon = Times(stage_deadline=timedelta(microseconds=1))
    assert to_try_again(running(failed(), times=soon)) == ()
    over = Times(deadline=timedelta(microseconds=1))
    assert to_try_again(running(failed(), times=over)) == ()
    assert to_try_again(running(failed(), times=Times(stage_deadline=timedelta(hours=1))))


def test_a_stage_that_takes_longer_than_its_deadline_fails_and_says_which() -> None:
    times = Times(stage_deadline=timedelta(hours=1))
    now = START + timedelta(minutes=61)
    rollout = running(a_device("d1", PROBATION, heard_at=now), times=times)
    late = advance(rollout, now).rollout
    assert late.reason.startswith("stage 1 did not end within 1:00:00: ")


def test_each_stage_has_its_deadline_from_its_own_beginning() -> None:
    times = Times(stage_deadline=timedelta(hours=1))
    spec = a_spec("1", "100%", terms=Terms(times=times), soak=timedelta(0))
    members = (a_device("d1", SERVING), a_device("d2"))
    rollout = a_rollout(spec, members, began_at=START, stage_since=START)
    later = START + timedelta(minutes=50)
    second = advance(rollout, later).rollout
    assert (second.stage, second.stage_since) == (1, later)
    heard = later + timedelta(minutes=50)
    there = tuple(replace(each, watched_since=heard) for each in second.devices)
    still = advance(replace(second, devices=there), heard).rollout
    assert still.state is RolloutState.RUNNING


def test_a_device_that_waits_for_its_next_attempt_leaves_room_for_others() -> None:
    waiting = failed(retry_at=START + MINUTE)
    rollout = running(waiting, a_device("d2"), pace=Pace(at_once=1))
    assert advance(rollout, START).decisions == (Grant(a_device("d2").device),)


def test_another_attempt_needs_room_like_the_first() -> None:
    due = failed(retry_at=START)
    rollout = running(due, a_device("d2", PROBATION), pace=Pace(at_once=1))
    assert advance(rollout, START).decisions == ()


def test_its_place_in_the_stage_stays_taken_while_it_waits() -> None:
    spec = a_spec("1", "100%", terms=Terms(retries=TWICE))
    rollout = a_rollout(spec, (failed(retry_at=START + MINUTE), a_device("d2")))
    assert advance(rollout, START).decisions == ()


def test_nobody_is_tried_again_while_it_is_away_and_then_it_counts_as_failed() -> None:
    away = failed(retry_at=START, reachable=False)
    rollout = running(away)
    assert advance(rollout, START + MINUTE).rollout.devices[0].state is FAILED
    later = advance(rollout, START + timedelta(minutes=16)).rollout
    assert device_of(later).state is DeviceState.SUSPECT


def test_a_device_that_comes_back_from_silence_is_tried_again() -> None:
    lost = a_device("d1", DeviceState.SUSPECT, attempt=1)
    rollout = running(lost, a_device("d2", PROBATION))
    report = a_report("failed", attempt=1, failure=a_failure("no", FailureKind.TRANSIENT))
    back = reported(target(rollout, MANIFEST), lost, report, START)
    assert to_try_again(replace(rollout, devices=(back, rollout.devices[1])))


def test_a_word_of_an_earlier_attempt_says_nothing_of_this_one() -> None:
    rollout = running(a_device("d1", LEASED, attempt=1))
    wanted, device = target(rollout, MANIFEST), device_of(rollout)
    old = a_report("failed", failure=a_failure("no", FailureKind.TRANSIENT))
    assert reported(wanted, device, old, START) == device
    assert reported(wanted, device, replace(old, attempt=1), START).state is FAILED
    receipt = a_receipt("d1", verdict="rolled_back")
    assert proven(wanted, device, receipt, START) == device
    tried = replace(device, state=PROBATION)
    assert proven(wanted, tried, receipt, START).state is BACK


@pytest.mark.parametrize(
    ("word", "component"), [("failed", "operator"), ("safe_mode", "supervisor")]
)
def test_what_somebody_ended_or_what_found_no_way_back_is_not_tried_again(
    word: str, component: str
) -> None:
    rollout = running(a_device("d1", PROBATION))
    failure = Failure(FailureKind.ENVIRONMENTAL, "probation", component, "it", "no")
    report = a_report(word, failure=failure)
    device = reported(target(rollout, MANIFEST), device_of(rollout), report, START)
    assert device.failure is FailureKind.PERMANENT


def test_a_device_that_waits_for_its_next_attempt_can_be_written_off() -> None:
    rollout = running(failed(retry_at=START + MINUTE), a_device("d2", SERVING))
    word = Word(Operation.WRITE_OFF, "it burnt", "ada", "d1")
    step = operate(rollout, word, START)
    assert TakeBack(rollout.devices[0].device, rollout.devices[0].previous) in step.decisions
    assert advance(step.rollout, START + timedelta(hours=1)).decisions[0] != Grant(
        rollout.devices[0].device, 1
    )


def test_nothing_is_tried_again_after_the_end() -> None:
    rollout = running(failed(retry_at=START + MINUTE), a_device("d2", SERVING))
    for operation in (Operation.ABORT, Operation.REVERT):
        ended = operate(rollout, Word(operation, "", "ada"), START).rollout
        assert device_of(ended).retry_at is None


def test_failed_attempts_are_no_evidence_before_the_last() -> None:
    rollout = running(failed(retry_at=START + MINUTE), a_device("d2", SERVING))
    judged = case(rollout, START, soaked=True)
    assert judged.seen.outcomes[""].judged == 1
    assert decide(judged)[1].startswith("waits for d1 (failed: the disk is full)")


@given(st.integers(0, 9), st.text(max_size=8), st.integers(1, 86_400))
def test_a_pause_is_at_most_the_delay_doubled_and_the_same_each_time(
    attempt: int, name: str, seconds: int
) -> None:
    rollout = running(retries=Retries(99, timedelta(seconds=seconds)))
    device = a_device(name, FAILED, attempt=attempt)
    found = pause(rollout, device)
    assert timedelta(0) <= found <= min(timedelta(seconds=seconds) * 2**attempt, LONGEST)
    assert found == pause(rollout, device)


def test_devices_that_failed_together_do_not_come_together() -> None:
    rollout = running()
    pauses = {pause(rollout, a_device(f"d{number}", FAILED)) for number in range(50)}
    assert len(pauses) == 50
    thirds = {min(2, 3 * each // TWICE.delay) for each in pauses}
    assert thirds == {0, 1, 2}


def test_after_a_resume_deadlines_count_from_there() -> None:
    times = Times(deadline=timedelta(hours=2), stage_deadline=timedelta(hours=1))
    late = START + timedelta(hours=9)
    paused = replace(
        running(a_device("d1", PROBATION, heard_at=late), times=times), state=RolloutState.PAUSED
    )
    resumed = operate(paused, Word(Operation.RESUME, "go on", "ada"), late).rollout
    assert advance(resumed, late).rollout.state is RolloutState.RUNNING
    over = advance(resumed, late + timedelta(minutes=61)).rollout
    assert over.state is not RolloutState.RUNNING
