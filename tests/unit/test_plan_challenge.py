"""A challenger in the agent's table: beside the champion until the manager says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sealane.policy import Policy, Trial
from sealane_agent.serving.messages import Shadowed, SlotStatus, Traffic
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import (
    Attempt,
    Choice,
    Enter,
    Observed,
    Remember,
    Rest,
    SlotRecord,
    State,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, pointer, proved

SOON = START + timedelta(seconds=60)
OLD, NEW = pointer(1), pointer(2)
CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))
SPLIT, COPIES = Trial(0.2), Trial(shadow_seconds=60)
BESIDE = SlotStatus(CAM, NEW, "cam-9", OLD, probation=True, standby=(), traffic=Traffic())
COPIED = replace(
    BESIDE,
    active=OLD,
    probation=False,
    previous=None,
    standby=("cam-9",),
    shadow=Shadowed("cam-9", 500, compared=500),
)


def planned(trial: Trial, serving: SlotStatus, for_s: float, *, awaits: bool) -> object:
    """The next action of a challenger, as the manager's last document says."""
    state = State.PROBATION if trial.share < 1 else State.SHADOW
    policy = Policy(trial=replace(trial, awaits=True))
    made = Attempt(
        CAM,
        NEW.release,
        digest(2),
        "r1",
        state,
        START,
        fetched=True,
        choice=CHOICE,
        policy=policy,
        lease_until=SOON,
    )
    asked = replace(assignment(2, "r1", SOON), policy=Policy(trial=replace(trial, awaits=awaits)))
    active = serving.active
    seen = Observed(heard=True, active=active, lkg=OLD, serving=serving, in_state_s=for_s)
    return plan(Wanted(asked), SlotRecord(CAM, made), seen, START)


def entered(action: object) -> Attempt:
    assert isinstance(action, Enter)
    return action.attempt


def test_a_challenger_is_kept_only_when_the_manager_says_so() -> None:
    healthy = replace(BESIDE, traffic=Traffic(requests=1000))
    assert isinstance(planned(SPLIT, healthy, 7200, awaits=True), Rest)
    assert entered(planned(SPLIT, healthy, 7200, awaits=False)).state is State.COMMITTED


def test_the_device_itself_ends_a_challenger_that_is_not_healthy() -> None:
    crashing = replace(BESIDE, traffic=Traffic(requests=1000, crashes=9))
    assert entered(planned(SPLIT, crashing, 7200, awaits=True)).state is State.ROLLING_BACK


def test_a_challenger_without_a_verdict_goes_back_after_a_week() -> None:
    gone = entered(planned(SPLIT, BESIDE, 9 * 24 * 3600.0, awaits=True))
    assert gone.failure is not None
    assert gone.failure.message == "the manager's gate gave no verdict in time"


def test_a_challenger_that_is_only_compared_is_activated_when_the_manager_says_so() -> None:
    assert isinstance(planned(COPIES, COPIED, 90, awaits=True), Rest | Remember)
    assert entered(planned(COPIES, COPIED, 90, awaits=False)).state is State.ACTIVATING
