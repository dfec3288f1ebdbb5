"""A staged release that gets copies of requests, in the agent's table."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sealane.holds import Hold
from sealane.policy import Policy, Trial
from sealane_agent.serving.messages import Shadowed, SlotStatus, Traffic
from sealane_agent.slot.plan import plan
from sealane_agent.slot.state import (
    Attempt,
    Choice,
    Enter,
    Mirror,
    Observed,
    Rest,
    SlotRecord,
    State,
    Wanted,
)
from support.agent_fakes import CAM, START, assignment, digest, pointer, proved

SOON = START + timedelta(seconds=60)
CHOICE = Choice("onnx-fp32", "onnxruntime", "cpu", "fp32", proved("cam-9"))
HOLD = Hold("h1", "cam", "press 7", "batch 12 is running", START + timedelta(minutes=30))
SHADOWED = Policy(trial=Trial(shadow_seconds=60, disagreement=0.05))
ASKED = Wanted(replace(assignment(2, "r1", SOON), policy=SHADOWED))
STAGED = Attempt(
    CAM, pointer(2).release, digest(2), "r1", State.STAGED, START, fetched=True, choice=CHOICE
)
COPIED = replace(STAGED, state=State.SHADOW, policy=SHADOWED, lease_until=SOON)
SERVING = SlotStatus(
    CAM, pointer(1), "cam-1", None, probation=False, standby=("cam-9",), traffic=Traffic()
)


def planned(attempt: Attempt, serving: SlotStatus, **changes: object) -> object:
    world = Observed(heard=True, active=pointer(1), lkg=pointer(1), serving=serving)
    seen = replace(world, **changes)  # type: ignore[arg-type]  # tests name fields of Observed
    return plan(ASKED, SlotRecord(CAM, attempt), seen, START)


def shadowing(seen: Shadowed | None, for_s: float, **changes: object) -> object:
    return planned(COPIED, replace(SERVING, shadow=seen), in_state_s=for_s, **changes)


def entered(action: object) -> Attempt:
    assert isinstance(action, Enter)
    return action.attempt


def test_a_release_that_shall_be_compared_gets_copies_before_it_is_activated() -> None:
    assert entered(planned(STAGED, SERVING)).state is State.SHADOW
    assert shadowing(None, 0) == Mirror("cam-9")
    assert shadowing(Shadowed("cam-8"), 1) == Mirror("cam-9")
    assert shadowing(Shadowed("cam-9", 5, compared=5), 59) == Rest()
    assert entered(shadowing(Shadowed("cam-9", 5, compared=5), 60)).state is State.ACTIVATING


def test_where_nothing_serves_there_is_nothing_to_copy() -> None:
    empty = replace(SERVING, active=None)
    made = entered(planned(STAGED, empty, active=None, lkg=None))
    assert made.state is State.ACTIVATING


def test_a_release_that_is_lost_over_copies_is_not_tried_again_here() -> None:
    action = shadowing(Shadowed("cam-9", lost=1), 1)
    assert isinstance(action, Enter)
    assert (action.attempt.state, action.quarantine) == (State.FAILED, True)


def test_a_release_that_answers_otherwise_fails_and_may_be_tried_again() -> None:
    action = shadowing(Shadowed("cam-9", 50, compared=50, disagreed=20), 60)
    assert isinstance(action, Enter)
    assert (action.attempt.state, action.quarantine) == (State.FAILED, False)
    assert action.attempt.failure is not None
    assert "20 of 50" in action.attempt.failure.message


def test_what_comes_in_the_way_of_a_release_is_waited_for_while_it_gets_copies() -> None:
    good = Shadowed("cam-9", 50, compared=50)
    assert shadowing(good, 60, holds=(HOLD,)) == Rest()


def test_a_standby_that_is_gone_while_it_got_copies_is_staged_anew() -> None:
    made = entered(planned(COPIED, replace(SERVING, standby=())))
    assert (made.state, made.restarts) == (State.FETCHING, 1)


def test_an_endpoint_that_knows_of_no_copies_does_not_stop_a_release() -> None:
    assert entered(shadowing(None, 60)).state is State.ACTIVATING
