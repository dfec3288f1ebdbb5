"""The gate: pass, hold or fail, and why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sealane_manager.gate.ruling import Verdict, decide
from sealane_manager.rollout.case import case, tolerated
from sealane_manager.rollout.types import DeviceState, GatePolicy, RolloutDevice
from support.rollouts import START, a_device, a_rollout, a_spec, devices

SAFE = GatePolicy()
SERVING, FAILED, BACK = DeviceState.SERVING, DeviceState.FAILED, DeviceState.ROLLED_BACK
SUSPECT, LEASED = DeviceState.SUSPECT, DeviceState.LEASED
PROBATION = DeviceState.PROBATION


def word(
    policy: GatePolicy, *members: RolloutDevice, soaked: bool = True, minutes: int = 0
) -> tuple[Verdict, str]:
    rollout = a_rollout(a_spec(gate=policy), members)
    verdict, reason, _ = decide(case(rollout, START + timedelta(minutes=minutes), soaked=soaked))
    return verdict, reason


def test_devices_that_serve_pass_after_the_soak() -> None:
    assert word(SAFE, *devices(SERVING, SERVING)) == (
        Verdict.PASS,
        "2 of 2 judged devices serve",
    )


def test_before_the_soak_is_over_it_holds() -> None:
    verdict, reason = word(SAFE, *devices(SERVING), soaked=False)
    assert verdict is Verdict.HOLD
    assert "soaks" in reason


@pytest.mark.parametrize("state", [FAILED, BACK, SUSPECT])
def test_by_default_one_bad_device_fails(state: DeviceState) -> None:
    verdict, reason = word(SAFE, *devices(SERVING, SERVING, state))
    assert verdict is Verdict.FAIL
    assert "1 of 3 judged devices failed: d3" in reason


def test_the_reason_names_a_few_devices_and_counts_the_rest() -> None:
    failed = devices(*[FAILED] * 5)
    assert "d1 (failed), d2 (failed), d3 (failed) and 2 more" in word(SAFE, *failed)[1]


def test_the_reason_says_what_the_device_said() -> None:
    failed = a_device("d1", FAILED, detail="golden outputs differ by 0.3")
    assert "d1 (failed: golden outputs differ by 0.3)" in word(SAFE, failed)[1]


def test_nothing_known_is_a_hold_and_never_a_pass() -> None:
    assert word(SAFE)[0] is Verdict.HOLD
    assert word(GatePolicy(max_failed=99, max_failed_percent=100))[0] is Verdict.HOLD


@pytest.mark.parametrize("state", [LEASED, DeviceState.FETCHING, DeviceState.STAGED, PROBATION])
def test_a_device_on_its_way_is_a_hold(state: DeviceState) -> None:
    verdict, reason = word(SAFE, *devices(SERVING, state))
    assert verdict is Verdict.HOLD
    assert f"waits for d2 ({state})" in reason


def test_too_few_requests_are_a_hold() -> None:
    policy = GatePolicy(min_requests=100)
    verdict, reason = word(policy, a_device("d1", SERVING, requests=99))
    assert (verdict, "fewer than 100 requests" in reason) == (Verdict.HOLD, True)
    assert word(policy, a_device("d1", SERVING, requests=100))[0] is Verdict.PASS


def test_failures_within_the_count_are_tolerated() -> None:
    policy = GatePolicy(max_failed=1)
    assert word(policy, *devices(SERVING, FAILED))[0] is Verdict.PASS
    assert word(policy, *devices(SERVING, FAILED, FAILED))[0] is Verdict.FAIL


def test_a_share_is_taken_of_judged_devices_only() -> None:
    policy = GatePolicy(max_failed_percent=20)
    in_flight = devices(*[PROBATION] * 20)
    four = devices(*[SERVING] * 3, FAILED)
    five = devices(*[SERVING] * 4, FAILED)
    assert word(policy, *four, *in_flight)[0] is Verdict.FAIL
    assert word(policy, *five, *in_flight)[0] is Verdict.HOLD
    assert word(policy, *five)[0] is Verdict.PASS


def test_the_larger_of_count_and_share_is_tolerated() -> None:
    assert tolerated(GatePolicy(max_failed=3, max_failed_percent=10), 10) == 3
    assert tolerated(GatePolicy(max_failed=3, max_failed_percent=10), 100) == 10


def test_failures_alone_fail_whatever_is_tolerated() -> None:
    policy = GatePolicy(max_failed=10)
    assert word(policy, *devices(FAILED, SUSPECT))[0] is Verdict.FAIL
    assert word(policy, *devices(FAILED, PROBATION))[0] is Verdict.HOLD


def test_an_acknowledged_failure_counts_no_more() -> None:
    accepted = a_device("d1", FAILED, acknowledged=True)
    assert word(SAFE, accepted, a_device("d2", SERVING))[0] is Verdict.PASS
    assert word(SAFE, accepted)[0] is Verdict.HOLD


def test_a_device_that_went_silent_after_it_was_leased_counts_as_failed() -> None:
    gone = a_device("d1", PROBATION)
    assert word(SAFE, gone, minutes=15)[0] is Verdict.HOLD
    assert word(SAFE, gone, minutes=16)[0] is Verdict.FAIL


def test_a_device_that_is_heard_is_not_silent() -> None:
    slow = a_device("d1", DeviceState.FETCHING, heard_at=START + timedelta(minutes=50))
    assert word(SAFE, slow, minutes=60)[0] is Verdict.HOLD


def test_a_leased_device_that_talks_but_never_begins_counts_as_failed() -> None:
    idle = a_device("d1", LEASED, heard_at=START + timedelta(minutes=60))
    assert word(SAFE, idle, minutes=60)[0] is Verdict.FAIL


def test_silence_while_the_manager_was_deaf_says_nothing() -> None:
    back = START + timedelta(minutes=55)
    gone = (
        a_device("d1", PROBATION, watched_since=back),
        a_device("d2", LEASED, watched_since=back),
    )
    assert word(SAFE, *gone, minutes=60)[0] is Verdict.HOLD
    assert word(SAFE, *gone, minutes=71)[0] is Verdict.FAIL
