"""An operator's word: what it does, and when it is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.types import (
    DeviceState,
    Grant,
    Operation,
    Phase,
    Rollout,
    RolloutState,
    Step,
    TakeBack,
)
from support.rollouts import START, a_device, a_rollout, a_spec, devices

WAITING, SERVING, FAILED = DeviceState.WAITING, DeviceState.SERVING, DeviceState.FAILED
PROBATION, SKIPPED = DeviceState.PROBATION, DeviceState.SKIPPED
ENDED = [RolloutState.SUCCEEDED, RolloutState.ABORTED, RolloutState.REVERTED]


def say(operation: Operation, rollout: Rollout, minutes: int = 0) -> Step:
    now = START + timedelta(minutes=minutes)
    return operate(rollout, Word(operation, "line 3 is down", "ada"), now)


def taken_back(step: Step) -> list[str]:
    return [each.device for each in step.decisions if isinstance(each, TakeBack)]


def test_pause_says_who_and_why() -> None:
    step = say(Operation.PAUSE, a_rollout(a_spec(), devices(WAITING)))
    assert step.rollout.state is RolloutState.PAUSED
    assert step.rollout.reason == "pause by ada: line 3 is down"


def test_a_paused_rollout_gives_no_places() -> None:
    paused = say(Operation.PAUSE, a_rollout(a_spec(), devices(WAITING))).rollout
    assert advance(paused, START) == Step(paused)


def test_resume_acknowledges_the_failures_seen_so_far_and_goes_on() -> None:
    spec = a_spec("2", "100%")
    paused = a_rollout(spec, devices(SERVING, FAILED, WAITING, WAITING), state=RolloutState.PAUSED)
    step = say(Operation.RESUME, paused)
    assert step.rollout.acknowledged_failures == 1
    assert taken_back(step) == ["d2"]
    after = advance(step.rollout, START)
    assert after.rollout.state is RolloutState.RUNNING
    assert [each.device for each in after.decisions if isinstance(each, Grant)] == ["d3"]


def test_a_failure_after_a_resume_fails_the_gate_again() -> None:
    members = (
        a_device("d1", FAILED, acknowledged=True),
        a_device("d2", FAILED),
        a_device("d3", SERVING),
    )
    assert advance(a_rollout(a_spec(), members), START).rollout.state is RolloutState.REVERTING


def test_resume_writes_off_a_device_that_is_silent() -> None:
    paused = a_rollout(a_spec(), devices(SERVING, PROBATION), state=RolloutState.PAUSED)
    step = say(Operation.RESUME, paused, minutes=16)
    lost = step.rollout.devices[1]
    assert (lost.state, lost.acknowledged) == (DeviceState.SUSPECT, True)


def test_resume_begins_the_soak_again() -> None:
    paused = a_rollout(a_spec(), devices(SERVING), state=RolloutState.PAUSED, phase=Phase.SOAK)
    step = say(Operation.RESUME, paused, minutes=9)
    assert step.rollout.phase_since == START + timedelta(minutes=9)


def test_promote_skips_the_soak() -> None:
    rollout = a_rollout(a_spec("1", "100%"), devices(SERVING, WAITING), phase=Phase.SOAK)
    step = say(Operation.PROMOTE, rollout)
    assert (step.rollout.stage, step.rollout.phase) == (1, Phase.DISPATCH)


def test_promote_in_the_last_stage_ends_it_without_those_who_are_away() -> None:
    members = (a_device("d1", SERVING), a_device("d2", WAITING, reachable=False))
    step = say(Operation.PROMOTE, a_rollout(a_spec(), members))
    assert step.rollout.state is RolloutState.SUCCEEDED
    assert step.rollout.devices[1].state is SKIPPED


def test_promote_never_overrules_a_failed_gate() -> None:
    rollout = a_rollout(a_spec(), devices(SERVING, FAILED), phase=Phase.SOAK)
    with pytest.raises(Refused, match="the gate fails: 1 of 2"):
        say(Operation.PROMOTE, rollout)


@pytest.mark.parametrize("state", [WAITING, PROBATION])
def test_promote_needs_a_device_that_serves_and_none_on_its_way(state: DeviceState) -> None:
    with pytest.raises(Refused, match="stage 1 is not ready"):
        say(Operation.PROMOTE, a_rollout(a_spec(), devices(state)))


@pytest.mark.parametrize("state", [RolloutState.RUNNING, RolloutState.PAUSED])
def test_abort_keeps_what_serves_and_takes_back_what_never_proved_it(state: RolloutState) -> None:
    rollout = a_rollout(a_spec(), devices(SERVING, PROBATION, FAILED, WAITING), state=state)
    step = say(Operation.ABORT, rollout)
    assert step.rollout.state is RolloutState.ABORTED
    assert taken_back(step) == ["d2", "d3"]
    assert step.rollout.ended_at == START


@pytest.mark.parametrize("state", [RolloutState.RUNNING, RolloutState.PAUSED])
def test_revert_takes_back_from_every_device_that_was_given_it(state: RolloutState) -> None:
    rollout = a_rollout(a_spec(), devices(SERVING, PROBATION, FAILED, WAITING), state=state)
    step = say(Operation.REVERT, rollout)
    assert step.rollout.state is RolloutState.REVERTING
    assert taken_back(step) == ["d1", "d2", "d3"]


def test_a_device_that_had_nothing_before_is_back_at_once() -> None:
    members = (a_device("d1", SERVING, previous=None),)
    step = say(Operation.REVERT, a_rollout(a_spec(), members))
    assert step.rollout.devices[0].state is DeviceState.ROLLED_BACK


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("operation", Operation)
def test_an_ended_rollout_takes_no_orders(operation: Operation, state: RolloutState) -> None:
    ended = a_rollout(a_spec(), devices(SERVING), state=state, ended_at=START)
    words = operation.replace("_", "-")
    with pytest.raises(Refused, match=f"is {state}, so it cannot {words}") as refused:
        say(operation, ended)
    assert refused.value.hint


@pytest.mark.parametrize("operation", Operation)
def test_a_revert_cannot_be_stopped_half_way(operation: Operation) -> None:
    reverting = a_rollout(a_spec(), devices(SERVING), state=RolloutState.REVERTING)
    with pytest.raises(Refused, match="is reverting"):
        say(operation, reverting)


def test_a_running_rollout_is_not_resumed() -> None:
    with pytest.raises(Refused, match="is running, so it cannot resume"):
        say(Operation.RESUME, a_rollout(a_spec(), devices(WAITING)))
