"""Devices that served and fell silent: they count, they keep their place, and they come back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealane_manager.gate.ruling import Verdict, decide
from sealane_manager.rollout.advance import advance
from sealane_manager.rollout.case import case, fell_silent
from sealane_manager.rollout.observe import proven, reported, target
from sealane_manager.rollout.types import DeviceState, GatePolicy, RolloutState
from support.rollouts import (
    MANIFEST,
    NEW,
    START,
    a_device,
    a_receipt,
    a_report,
    a_rollout,
    a_spec,
)

if TYPE_CHECKING:
    from sealane_manager.rollout.types import RolloutDevice

LATE = START + timedelta(minutes=20)


def serves(name: str, **changes: Any) -> RolloutDevice:
    return a_device(name, DeviceState.SERVING, served=True, **changes)


def away(name: str) -> RolloutDevice:
    return serves(name, reachable=False)


def test_a_device_that_served_and_is_not_heard_any_more_becomes_suspect_and_keeps_its_place() -> (
    None
):
    present = serves("d2", heard_at=LATE)
    waiting = a_device("d3", heard_at=LATE)
    rollout = a_rollout(a_spec("2", "100%"), (away("d1"), present, waiting))
    step = advance(rollout, LATE)
    states = {str(each.device): each.state for each in step.rollout.devices}
    assert states["d1"] is DeviceState.SUSPECT
    assert step.rollout.state is RolloutState.REVERTING
    assert "d1" in step.rollout.reason


def test_where_the_others_are_silent_too_it_is_not_the_release() -> None:
    gone = a_device("d2", reachable=False)
    rollout = a_rollout(a_spec("1", "100%"), (away("d1"), gone))
    assert fell_silent(rollout, LATE) == ()


def test_a_device_that_is_connected_is_not_silent_though_it_has_said_nothing() -> None:
    rollout = a_rollout(a_spec("1", "100%"), (serves("d1"), a_device("d2")))
    assert fell_silent(rollout, LATE) == ()


def test_by_evidence_one_silent_device_holds_and_several_fail() -> None:
    gate = GatePolicy(by_evidence=True)
    lost = [a_device(f"d{n}", DeviceState.SUSPECT, served=True) for n in range(6)]
    serving = [serves(f"s{n}") for n in range(3)]

    def verdict(count: int) -> Verdict:
        rollout = a_rollout(a_spec("100%", gate=gate), (*lost[:count], *serving))
        return decide(case(rollout, LATE, soaked=True))[0]

    assert verdict(0) is Verdict.PASS
    assert verdict(6) is Verdict.FAIL


def test_a_suspect_that_served_serves_again_when_it_says_so() -> None:
    rollout = a_rollout(a_spec("1", "100%"), (a_device("d1"), a_device("d2")))
    wanted = target(rollout, MANIFEST)
    leased = a_device("d1", DeviceState.PROBATION)
    proved = proven(wanted, leased, a_receipt("d1"), START)
    assert proved.served
    suspect = replace(proved, state=DeviceState.SUSPECT)
    report = a_report("committed", active_release=str(NEW))
    assert reported(wanted, suspect, report, LATE).state is DeviceState.SERVING
