"""Champion and challenger stand side by side until the gate's verdict, or somebody's word."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sealane.failure import FailureKind
from sealane.names import DeviceId
from sealane.policy import Trial
from sealane_manager.errors import Refused
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.case import case
from sealane_manager.rollout.challenge import challengers
from sealane_manager.rollout.operate import Word, operate
from sealane_manager.rollout.terms import Pace, Retries, Terms
from sealane_manager.rollout.trial import trial_of
from sealane_manager.rollout.types import (
    DeviceState,
    Grant,
    Operation,
    Phase,
    Promote,
    Rollout,
    RolloutState,
    TakeBack,
)
from support.rollouts import START, a_device, a_rollout, a_spec

PROBATION, SHADOW, SERVING = DeviceState.PROBATION, DeviceState.SHADOW, DeviceState.SERVING
SPLIT, COPIES = Trial(0.2), Trial(shadow_seconds=60)
LASTS = timedelta(hours=2)
BOTH = ("d1", "d2")


def beside(state: DeviceState = PROBATION, trial: Trial = SPLIT, **changes: Any) -> Rollout:
    terms = Terms(trial=trial, challenge=LASTS)
    spec = a_spec("2", "100%", terms=terms, soak=timedelta(minutes=1))
    members = [a_device(name, state, heard_at=START + 2 * LASTS) for name in BOTH]
    return a_rollout(spec, [*members, a_device("d3")], **changes)


def promoted(rollout: Rollout) -> list[str]:
    return [str(each.device) for each in rollout.devices if each.promoted]


@pytest.mark.parametrize(("state", "trial"), [(PROBATION, SPLIT), (SHADOW, COPIES)])
def test_challengers_are_watched_for_the_time_that_was_asked_and_promoted_by_the_gate(
    state: DeviceState, trial: Trial
) -> None:
    soaking = advance(beside(state, trial), START).rollout
    assert (soaking.phase, soaking.state) == (Phase.SOAK, RolloutState.RUNNING)
    early = advance(soaking, START + LASTS - timedelta(seconds=1))
    assert early.rollout.phase is Phase.SOAK
    won = advance(soaking, START + LASTS)
    assert [each.device for each in won.decisions if isinstance(each, Promote)] == list(BOTH)
    assert (won.rollout.stage, won.rollout.phase) == (0, Phase.DISPATCH)
    assert promoted(won.rollout) == list(BOTH)
    assert challengers(won.rollout) == ()


def test_after_its_promotion_a_challenger_must_prove_that_it_serves_like_any_release() -> None:
    soaking = advance(beside(), START).rollout
    won = advance(soaking, START + LASTS).rollout
    later = START + LASTS + timedelta(minutes=5)
    assert advance(won, later).rollout.phase is Phase.DISPATCH
    proved = replace(
        won, devices=tuple(replace(d, state=SERVING) if d.promoted else d for d in won.devices)
    )
    soaked = advance(proved, later).rollout
    assert soaked.phase is Phase.SOAK
    assert advance(soaked, later + timedelta(minutes=1)).rollout.stage == 1


def test_with_copies_and_a_split_only_the_split_is_the_challenge() -> None:
    both = replace(SPLIT, shadow_seconds=60)
    assert challengers(beside(SHADOW, both)) == ()
    assert len(challengers(beside(PROBATION, both))) == 2


def test_the_gate_drops_challengers_and_they_go_back() -> None:
    rollout = beside()
    lost = replace(rollout.devices[0], state=DeviceState.ROLLED_BACK)
    step = advance(replace(rollout, devices=(lost, *rollout.devices[1:])), START)
    assert step.rollout.state is RolloutState.REVERTING
    assert [each.device for each in step.decisions if isinstance(each, TakeBack)] == list(BOTH)


def test_somebody_promotes_challengers_before_their_time() -> None:
    step = operate(beside(), Word(Operation.PROMOTE, "good enough", "ada"), START)
    assert promoted(step.rollout) == list(BOTH)
    assert step.rollout.stage == 0


def test_a_challenger_that_is_still_on_its_way_cannot_be_promoted() -> None:
    on_its_way = beside(DeviceState.STAGED)
    with pytest.raises(Refused, match="stage 1 is not ready"):
        operate(on_its_way, Word(Operation.PROMOTE, "", "ada"), START)


def test_somebody_drops_challengers_by_an_abort() -> None:
    step = operate(beside(), Word(Operation.ABORT, "no better", "ada"), START)
    assert [each.device for each in step.decisions if isinstance(each, TakeBack)] == list(BOTH)


def test_the_gate_counts_challengers_as_devices_that_stand_but_as_no_outcome_yet() -> None:
    judged = case(beside(), START, soaked=True)
    assert (judged.facts.serving, judged.facts.running, judged.facts.missing) == (2, False, "")
    assert judged.seen.outcomes == {}


def test_the_verdict_waits_for_no_device_that_is_tried_again_in_the_place_of_a_challenger() -> None:
    retries, pace = Retries(1, timedelta(minutes=10)), Pace(ramp=1)
    terms = Terms(trial=SPLIT, challenge=LASTS, retries=retries, pace=pace)
    failed = a_device("d1", DeviceState.FAILED, failure=FailureKind.TRANSIENT)
    heard = START + 2 * LASTS
    members = [replace(failed, retry_at=START, heard_at=heard), a_device("d2", PROBATION)]
    members[1] = replace(members[1], heard_at=heard)
    soaking = advance(a_rollout(a_spec("100%", terms=terms), members), START).rollout
    assert (soaking.phase, soaking.devices[0].awaits_retry) == (Phase.SOAK, True)
    won = advance(soaking, START + LASTS).rollout
    assert promoted(won) == ["d2"]
    proved = replace(won, devices=(won.devices[0], replace(won.devices[1], state=SERVING)))
    again = advance(proved, START + LASTS)
    assert [each for each in again.decisions if isinstance(each, Grant)] == [
        Grant(DeviceId("d1"), 1)
    ]


def test_the_verdict_waits_for_a_device_that_is_tried_again_where_there_is_room() -> None:
    terms = Terms(trial=SPLIT, challenge=LASTS, retries=Retries(1, timedelta(minutes=10)))
    failed = a_device("d1", DeviceState.FAILED, failure=FailureKind.TRANSIENT)
    members = [replace(failed, retry_at=START + LASTS), a_device("d2", PROBATION)]
    waiting = advance(a_rollout(a_spec("100%", terms=terms), members), START).rollout
    assert waiting.phase is Phase.DISPATCH


def test_a_device_waits_for_the_verdict_until_it_was_promoted() -> None:
    spec = beside().spec
    assert trial_of(spec).awaits
    assert not trial_of(spec, promoted=True).awaits
    assert not trial_of(a_spec()).awaits
