"""The table of `advance`, row by row."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sealane.names import DeviceId
from sealane_manager.rollout.advance import TABLE, advance
from sealane_manager.rollout.types import (
    DeviceState,
    GatePolicy,
    Grant,
    Mark,
    Note,
    OnFailure,
    Phase,
    Rollout,
    RolloutDevice,
    RolloutState,
    Step,
    TakeBack,
)
from support.rollouts import (
    OLD,
    SOAK,
    START,
    a_device,
    a_rollout,
    a_spec,
    all_reachable,
    devices,
)

WAITING, LEASED, SERVING = DeviceState.WAITING, DeviceState.LEASED, DeviceState.SERVING
FAILED, SUSPECT, PROBATION = DeviceState.FAILED, DeviceState.SUSPECT, DeviceState.PROBATION
BACK = DeviceState.ROLLED_BACK
MINUTE = timedelta(minutes=1)


def staged(*members: RolloutDevice, **changes: object) -> Rollout:
    return a_rollout(a_spec("1", "40%", "100%"), members, **changes)


def states(step: Step) -> list[DeviceState]:
    return [device.state for device in step.rollout.devices]


def granted(step: Step) -> list[str]:
    return [each.device for each in step.decisions if isinstance(each, Grant)]


def taken_back(step: Step) -> list[str]:
    return [each.device for each in step.decisions if isinstance(each, TakeBack)]


def notes(step: Step) -> list[str]:
    return [each.action for each in step.decisions if isinstance(each, Note)]


def test_a_place_goes_to_the_first_device_in_turn() -> None:
    step = advance(staged(*devices(*[WAITING] * 5)), START)
    assert granted(step) == ["d1"]
    assert states(step) == [LEASED, *[WAITING] * 4]
    assert "d1 (leased)" in step.rollout.reason


def test_an_unreachable_device_gets_no_place_and_the_next_one_does() -> None:
    members = (a_device("d1", reachable=False), *devices(*[WAITING] * 5)[1:])
    step = advance(staged(*members), START)
    assert granted(step) == ["d2"]
    assert step.rollout.devices[1].stage == 0


def test_when_nobody_is_reachable_the_stage_waits_and_says_so() -> None:
    members = [replace(each, reachable=False) for each in devices(WAITING, WAITING)]
    step = advance(staged(*members), START)
    assert granted(step) == []
    assert step.rollout.phase is Phase.DISPATCH
    assert step.rollout.reason.startswith("waits until it can reach d1 (waiting)")


def test_a_suspect_keeps_its_place() -> None:
    spec = a_spec("2", "100%", gate=GatePolicy(max_failed=5))
    rollout = a_rollout(spec, devices(SUSPECT, SERVING, WAITING, WAITING))
    assert granted(advance(rollout, START)) == []


def test_a_full_stage_soaks_when_every_device_serves() -> None:
    step = advance(staged(*devices(SERVING, *[WAITING] * 4)), START)
    assert (step.rollout.phase, step.rollout.stage) == (Phase.SOAK, 0)
    assert step.rollout.phase_since == START
    assert notes(step) == ["soak"]


def test_a_stage_with_a_free_place_does_not_soak() -> None:
    rollout = staged(
        a_device("d1", SERVING),
        *(replace(each, reachable=False) for each in devices(*[WAITING] * 5)[1:]),
        stage=1,
    )
    assert advance(rollout, START).rollout.phase is Phase.DISPATCH


def test_a_soak_that_is_not_over_waits() -> None:
    rollout = staged(*devices(SERVING, *[WAITING] * 4), phase=Phase.SOAK)
    step = advance(rollout, START + SOAK - MINUTE)
    assert step.rollout.phase is Phase.SOAK
    assert step.decisions == ()


def test_after_the_soak_a_good_stage_leads_to_the_next_one() -> None:
    rollout = staged(*devices(SERVING, *[WAITING] * 4), phase=Phase.SOAK)
    step = advance(rollout, START + SOAK)
    assert (step.rollout.stage, step.rollout.phase) == (1, Phase.DISPATCH)
    assert granted(step) == ["d2"]


def test_after_the_last_stage_the_rollout_has_succeeded() -> None:
    rollout = staged(*devices(*[SERVING] * 5), stage=2, phase=Phase.SOAK)
    step = advance(rollout, START + SOAK)
    assert step.rollout.state is RolloutState.SUCCEEDED
    assert step.rollout.ended_at == START + SOAK
    assert taken_back(step) == []


def test_without_a_soak_stages_follow_each_other_at_once() -> None:
    rollout = a_rollout(a_spec(soak=timedelta(0)), devices(SERVING, SERVING))
    assert advance(rollout, START).rollout.state is RolloutState.SUCCEEDED


def test_the_last_stage_waits_for_devices_that_are_away() -> None:
    members = (*devices(*[SERVING] * 4), a_device("d5", reachable=False))
    step = advance(staged(*members, stage=2), START + SOAK)
    assert step.rollout.state is RolloutState.RUNNING
    assert step.rollout.phase is Phase.DISPATCH


def test_a_device_that_comes_late_is_caught_up_under_the_same_budget() -> None:
    members = (*devices(*[SERVING] * 3), a_device("d4"), a_device("d5", reachable=False))
    assert granted(advance(staged(*members, stage=2), START)) == ["d4"]


def test_success_takes_the_release_back_from_tolerated_failures() -> None:
    spec = a_spec(gate=GatePolicy(max_failed=1))
    rollout = a_rollout(spec, devices(SERVING, FAILED), phase=Phase.EVALUATE)
    step = advance(rollout, START)
    assert step.rollout.state is RolloutState.SUCCEEDED
    assert taken_back(step) == ["d2"]


def test_too_few_requests_hold_the_evaluation() -> None:
    spec = a_spec(gate=GatePolicy(min_requests=50))
    rollout = a_rollout(spec, devices(SERVING), phase=Phase.EVALUATE)
    step = advance(rollout, START + timedelta(days=3))
    assert step.rollout.state is RolloutState.RUNNING
    assert "fewer than 50 requests" in step.rollout.reason


def test_a_held_rollout_says_why_only_once() -> None:
    first = advance(staged(*devices(PROBATION, *[WAITING] * 4)), START)
    assert first.rollout.reason
    assert advance(first.rollout, START + MINUTE) == Step(first.rollout)


@pytest.mark.parametrize("phase", Phase)
def test_a_failed_gate_reverts_in_any_phase(phase: Phase) -> None:
    step = advance(staged(*devices(BACK, *[WAITING] * 4), phase=phase), START)
    assert step.rollout.state is RolloutState.REVERTED
    assert taken_back(step) == ["d1"]
    assert states(step)[1:] == [DeviceState.SKIPPED] * 4
    assert "1 of 1 judged devices failed: d1" in step.rollout.reason


def test_a_revert_gives_back_what_was_there_before() -> None:
    first = a_device("d1", FAILED, previous=None)
    step = advance(a_rollout(a_spec(), (first, a_device("d2", SERVING))), START)
    assert TakeBack(DeviceId("d1"), None) in step.decisions
    assert TakeBack(DeviceId("d2"), OLD) in step.decisions


def test_a_failed_gate_keeps_what_serves_when_told_so() -> None:
    rollout = a_rollout(
        a_spec("2", "100%", on_failure=OnFailure.KEEP),
        devices(SERVING, FAILED, PROBATION, WAITING),
    )
    step = advance(rollout, START)
    assert step.rollout.state is RolloutState.ABORTED
    assert taken_back(step) == ["d2", "d3"]
    assert states(step) == [SERVING, FAILED, DeviceState.SKIPPED, DeviceState.SKIPPED]


def test_a_failed_gate_pauses_when_told_so() -> None:
    rollout = a_rollout(a_spec(on_failure=OnFailure.PAUSE), devices(SERVING, FAILED))
    step = advance(rollout, START)
    assert step.rollout.state is RolloutState.PAUSED
    assert taken_back(step) == []


def test_a_silent_device_becomes_suspect_and_fails_the_gate() -> None:
    rollout = staged(*devices(PROBATION, *[WAITING] * 4))
    step = advance(rollout, START + 16 * MINUTE)
    assert isinstance(step.decisions[0], Mark)
    assert states(step)[0] is SUSPECT
    assert "silent while probation" in step.rollout.devices[0].detail
    assert step.rollout.state is RolloutState.REVERTING


def test_a_paused_rollout_still_notices_silence_but_decides_nothing_else() -> None:
    rollout = staged(*devices(PROBATION, *[WAITING] * 4), state=RolloutState.PAUSED)
    step = advance(rollout, START + 16 * MINUTE)
    assert [type(each) for each in step.decisions] == [Mark]
    assert step.rollout.state is RolloutState.PAUSED


def test_a_rollout_without_anybody_left_has_failed() -> None:
    gone = (
        a_device("d1", FAILED, acknowledged=True),
        a_device("d2", DeviceState.SKIPPED),
    )
    assert advance(a_rollout(a_spec(), gone), START).rollout.state is RolloutState.FAILED


def test_a_written_off_place_goes_to_another_device() -> None:
    members = (a_device("d1", FAILED, acknowledged=True), *devices(*[WAITING] * 5)[1:])
    step = advance(staged(*members, phase=Phase.SOAK), START)
    assert granted(step) == ["d2"]
    assert step.rollout.phase is Phase.DISPATCH


def test_a_revert_waits_for_the_reachable() -> None:
    rollout = a_rollout(a_spec(), devices(SERVING, BACK), state=RolloutState.REVERTING)
    assert advance(rollout, START + MINUTE).rollout.state is RolloutState.REVERTING


def test_a_revert_never_waits_for_the_unreachable() -> None:
    members = (a_device("d1", SERVING, reachable=False), a_device("d2", BACK))
    rollout = a_rollout(a_spec(), members, state=RolloutState.REVERTING)
    step = advance(rollout, START + MINUTE)
    assert step.rollout.state is RolloutState.REVERTED
    assert notes(step) == ["reverted", "unconfirmed"]


def test_a_revert_waits_for_whom_it_reached_and_who_starts_anew_meanwhile() -> None:
    heard = START + timedelta(seconds=5)
    away = replace(a_device("d1", SERVING, reachable=False), heard_at=heard)
    rollout = a_rollout(a_spec(), (away,), state=RolloutState.REVERTING)
    assert advance(rollout, START + MINUTE).rollout.state is RolloutState.REVERTING
    assert advance(rollout, START + 16 * MINUTE).rollout.state is RolloutState.REVERTED


def test_a_revert_does_not_wait_for_ever_for_a_device_that_will_not() -> None:
    rollout = a_rollout(a_spec(), devices(SERVING), state=RolloutState.REVERTING)
    assert advance(rollout, START + 16 * MINUTE).rollout.state is RolloutState.REVERTED


@pytest.mark.parametrize(
    "state",
    [state for state in RolloutState if state not in {row.state for row in TABLE}],
)
def test_an_ended_rollout_stays_as_it_is(state: RolloutState) -> None:
    rollout = a_rollout(a_spec(), devices(WAITING, FAILED, PROBATION), state=state)
    assert advance(rollout, START + timedelta(days=9)) == Step(rollout)


def by_lines(*members: RolloutDevice) -> Rollout:
    spec = a_spec("where line=a", "where line=b", "100%", soak=timedelta(0))
    stages = {"a": 0, "b": 1, "c": 2}
    placed = tuple(replace(each, stage=stages[each.device[0]]) for each in members)
    return a_rollout(spec, placed, devices=placed)


def test_a_stage_by_selector_gives_no_place_to_others_while_its_own_are_away() -> None:
    rollout = by_lines(a_device("a1", reachable=False), a_device("a2"), a_device("b1"))
    step = advance(rollout, START)
    assert step.decisions == (Grant(DeviceId("a2")),)


def test_a_stage_by_selector_goes_on_without_those_who_are_away_and_they_catch_up() -> None:
    rollout = by_lines(
        a_device("a1", reachable=False), a_device("a2", SERVING), a_device("b1"), a_device("c1")
    )
    second = advance(rollout, START)
    assert (second.rollout.stage, second.rollout.phase) == (1, Phase.DISPATCH)
    assert [each.device for each in second.decisions if isinstance(each, Grant)] == ["b1"]
    back = advance(all_reachable(second.rollout), START)
    assert [each.device for each in back.decisions if isinstance(each, Grant)] == ["a1"]
    assert back.rollout.devices[0].stage == 1


def test_a_stage_by_selector_waits_for_its_first_device() -> None:
    rollout = by_lines(a_device("a1", reachable=False), a_device("b1"))
    step = advance(rollout, START)
    assert (step.rollout.stage, step.decisions) == (0, ())
    assert step.rollout.reason == "waits until it can reach a1 (waiting)"


def test_when_all_of_a_stage_by_selector_are_written_off_the_next_one_never_comes_unproved() -> (
    None
):
    lost = a_device("a1", DeviceState.ROLLED_BACK, acknowledged=True)
    step = advance(by_lines(lost, a_device("b1")), START)
    assert step.rollout.state is RolloutState.FAILED
    assert step.rollout.reason == "no device is left that could prove the release"


def test_a_stage_of_which_all_are_written_off_is_passed_where_an_earlier_one_proved_it() -> None:
    lost = a_device("b1", DeviceState.ROLLED_BACK, acknowledged=True)
    rollout = replace(by_lines(a_device("a1", SERVING), lost, a_device("c1")), stage=1)
    step = advance(rollout, START)
    assert (step.rollout.stage, step.rollout.state) == (2, RolloutState.RUNNING)
