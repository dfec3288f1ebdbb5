"""What a device's word moves, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sealane.names import Digest, SlotName
from sealane_manager.rollout.observe import proven, reported, target
from sealane_manager.rollout.types import DeviceState, RolloutDevice, RolloutState
from support.rollouts import (
    MANIFEST,
    NEW,
    START,
    a_device,
    a_failure,
    a_receipt,
    a_report,
    a_rollout,
    a_spec,
)

if TYPE_CHECKING:
    from sealane.fleet import SlotReport

WANTED = target(a_rollout(a_spec(), [a_device("d1")]), MANIFEST)
REVERTING = target(a_rollout(a_spec(), [a_device("d1")], state=RolloutState.REVERTING), MANIFEST)
LEASED, FETCHING, STAGED = DeviceState.LEASED, DeviceState.FETCHING, DeviceState.STAGED
PROBATION, SERVING = DeviceState.PROBATION, DeviceState.SERVING
FAILED, BACK, SUSPECT = DeviceState.FAILED, DeviceState.ROLLED_BACK, DeviceState.SUSPECT
LATER = START + timedelta(minutes=1)


def says(state: DeviceState, report: SlotReport, wanted: Any = WANTED) -> DeviceState:
    return reported(wanted, a_device("d1", state), report, LATER).state


def shows(state: DeviceState, **changes: Any) -> RolloutDevice:
    return proven(WANTED, a_device("d1", state), replace(a_receipt("d1"), **changes), LATER)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("accepted", FETCHING),
        ("fetching", FETCHING),
        ("staged", STAGED),
        ("waiting", STAGED),
        ("activating", PROBATION),
        ("probation", PROBATION),
        ("committed", PROBATION),
        ("failed", FAILED),
        ("quarantined", FAILED),
        ("rolling_back", BACK),
        ("rolled_back", BACK),
        ("safe_mode", BACK),
        ("idle", LEASED),
        ("a word from a newer agent", LEASED),
    ],
)
def test_each_word_of_the_agent_means_this(word: str, state: DeviceState) -> None:
    assert says(LEASED, a_report(word)) is state


def test_no_word_makes_a_device_serving() -> None:
    words = ("committed", "serving", "idle", "probation")
    assert SERVING not in {says(PROBATION, a_report(word)) for word in words}


def test_a_late_word_does_not_move_a_device_back() -> None:
    assert says(PROBATION, a_report("fetching")) is PROBATION
    assert says(SERVING, a_report("probation")) is SERVING
    assert says(SERVING, a_report("failed")) is SERVING
    assert says(BACK, a_report("probation")) is BACK
    assert says(FAILED, a_report("fetching")) is FAILED


def test_a_device_that_served_and_went_back_is_no_longer_serving() -> None:
    assert says(SERVING, a_report("rolled_back")) is BACK
    assert says(SERVING, a_report("safe_mode")) is BACK


def test_a_suspect_that_is_heard_is_where_it_says_it_is() -> None:
    assert says(SUSPECT, a_report("fetching")) is FETCHING


@pytest.mark.parametrize(
    "report",
    [a_report("probation", rollout="r-2"), a_report("probation", slot=SlotName("door"))],
)
def test_a_word_about_something_else_moves_nothing(report: SlotReport) -> None:
    assert says(LEASED, report) is LEASED


@pytest.mark.parametrize("state", [DeviceState.WAITING, DeviceState.SKIPPED])
def test_a_device_without_a_place_cannot_talk_itself_into_one(state: DeviceState) -> None:
    assert says(state, a_report("probation")) is state
    assert shows(state).state is state


def test_a_failure_is_kept_in_the_devices_words() -> None:
    report = a_report("failed", failure=a_failure("the golden outputs differ"))
    device = reported(WANTED, a_device("d1", STAGED), report, LATER)
    assert (device.detail, device.changed_at) == ("the golden outputs differ", LATER)


def test_a_devices_words_are_cut_to_a_length() -> None:
    report = a_report("failed", failure=a_failure("x" * 10_000))
    assert len(reported(WANTED, a_device("d1", STAGED), report, LATER).detail) == 500


@pytest.mark.parametrize("state", [LEASED, STAGED, PROBATION, SUSPECT, FAILED])
def test_a_serving_receipt_makes_a_device_serving(state: DeviceState) -> None:
    device = shows(state)
    assert (device.state, device.requests) == (SERVING, 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"rollout": "r-0"},
        {"release": "vision/defect@1"},
        {"slot": "door"},
        {"device": "d2"},
        {"manifest": Digest("sha256:" + "9" * 64)},
        {"verdict": "perhaps"},
    ],
)
def test_a_receipt_for_something_else_proves_nothing(changes: dict[str, Any]) -> None:
    assert shows(PROBATION, **changes).state is PROBATION


def test_a_later_receipt_raises_the_count_of_requests() -> None:
    serving = a_device("d1", SERVING, requests=50)
    assert proven(WANTED, serving, a_receipt("d1", requests=80), LATER).requests == 80
    assert proven(WANTED, serving, a_receipt("d1", requests=10), LATER).requests == 50


def test_a_receipt_that_says_rolled_back_is_believed() -> None:
    assert shows(PROBATION, verdict="rolled_back").state is BACK
    assert shows(SERVING, verdict="rolled_back").state is BACK


def test_a_late_serving_receipt_does_not_undo_a_roll_back() -> None:
    assert shows(BACK).state is BACK


def test_a_written_off_device_stays_written_off() -> None:
    gone = a_device("d1", SUSPECT, acknowledged=True)
    assert proven(WANTED, gone, a_receipt("d1"), LATER) == gone
    back = reported(WANTED, gone, a_report("committed", attempt_release=""), LATER)
    assert (back.state, back.acknowledged) == (BACK, True)


def test_while_reverting_a_device_is_back_when_the_release_no_longer_serves() -> None:
    still = a_report("fetching", active_release=str(NEW), attempt_release="vision/defect@1")
    assert says(SERVING, still, REVERTING) is SERVING
    gone = a_report("committed", rollout="", attempt_release="")
    assert says(SERVING, gone, REVERTING) is BACK


def test_while_reverting_a_device_that_still_tries_is_not_back() -> None:
    assert says(FETCHING, a_report("fetching"), REVERTING) is FETCHING
    assert says(FETCHING, a_report("idle"), REVERTING) is BACK


def test_while_reverting_a_failed_device_stays_failed() -> None:
    assert says(FAILED, replace(a_report("idle"), attempt_release=""), REVERTING) is FAILED


def waiting(component: str) -> SlotReport:
    """A staged release that waits for something, as the agent reports it."""
    said = replace(a_failure(f"the {component} says so"), component=component)
    return replace(a_report("waiting"), failure=said)


def test_a_held_device_keeps_its_place_and_is_told_from_one_that_waits_for_its_window() -> None:
    staged = reported(WANTED, a_device("d1", FETCHING), waiting("window"), LATER)
    assert (staged.state, staged.held, staged.detail) == (STAGED, False, "the window says so")
    held = reported(WANTED, staged, waiting("hold"), LATER + timedelta(minutes=1))
    assert (held.state, held.held, held.detail) == (STAGED, True, "the hold says so")
    assert held.changed_at == staged.changed_at
    free = reported(WANTED, held, a_report("activating"), LATER)
    assert (free.state, free.held) == (PROBATION, False)
