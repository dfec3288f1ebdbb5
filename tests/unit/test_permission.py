from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sealane.failure import FailureKind
from sealane.holds import Hold
from sealane.names import ReleaseName
from sealane.policy import Policy, Trial, Trigger
from sealane.windows import parse_window
from sealane_agent.serving.messages import MEMORY
from sealane_agent.slot import outcomes
from sealane_agent.slot.permission import interruptible, interrupts
from sealane_agent.slot.state import Attempt, Observed, State
from support.agent_fakes import CAM, digest, failure

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LEASED = NOON + timedelta(hours=1)
NIGHT = ((parse_window("daily 22:00-05:00"),),)
DAY = ((parse_window("daily 08:00-18:00"),),)
SEEN = Observed(heard=True, active=None, lkg=None, serving=None)


def attempt(policy: Policy) -> Attempt:
    name, rollout = ReleaseName("vision/defect", 2), "r1"
    found = Attempt(CAM, name, digest(2), rollout, State.FETCHING, NOON, fetched=True)
    return replace(found, policy=policy, lease_until=LEASED)


@pytest.mark.parametrize(
    ("policy", "may"),
    [
        (Policy(), False),
        (Policy(interrupts=True), True),
        (Policy(interrupts=True, trigger=Trigger.NOW), True),
        (Policy(interrupts=True, trigger=Trigger.RESTART), False),
        (Policy(interrupts=True, trial=Trial(share=0.5)), False),
        (Policy(interrupts=True, trial=Trial(shadow_seconds=60)), False),
    ],
)
def test_only_a_policy_that_says_so_and_needs_one_model_at_a_time_lets_a_slot_be_interrupted(
    policy: Policy, *, may: bool
) -> None:
    assert interruptible(attempt(policy)) is may


def test_a_slot_is_interrupted_only_while_its_release_could_be_activated() -> None:
    allowed = Policy(interrupts=True, activation=DAY)
    assert interrupts(attempt(allowed), SEEN, NOON)
    assert not interrupts(attempt(replace(allowed, activation=NIGHT)), SEEN, NOON)
    assert not interrupts(replace(attempt(allowed), lease_until=None), SEEN, NOON)
    hold = Hold("h1", CAM, "ada", "batch 12", LEASED)
    assert not interrupts(attempt(allowed), replace(SEEN, holds=(hold,)), NOON)


def test_what_there_is_no_memory_for_is_tried_again_where_a_window_will_come() -> None:
    crowded = failure(FailureKind.ENVIRONMENTAL, MEMORY)
    waits = outcomes.failed(attempt(Policy(interrupts=True)), crowded, NOON, 0.5)
    assert waits.attempt.state is State.FETCHING
    assert waits.attempt.retry_at == NOON + timedelta(seconds=0.5)
    assert waits.attempt.failure == crowded


def test_elsewhere_it_fails_and_nothing_is_held_against_the_release() -> None:
    crowded = failure(FailureKind.ENVIRONMENTAL, MEMORY)
    ended = outcomes.failed(attempt(Policy()), crowded, NOON, 0.5)
    assert (ended.attempt.state, ended.quarantine) == (State.FAILED, False)
