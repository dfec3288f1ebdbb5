"""A new rollout: what it will change, and why it is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sealane.errors import InvalidName
from sealane.names import AGENT_SLOT, DeviceId
from sealane.policy import Trial
from sealane_manager.errors import Refused
from sealane_manager.gate.types import Breach, Check, Checks, Kind, Mode
from sealane_manager.rollout.draft import Candidate, draft
from sealane_manager.rollout.placement import order
from sealane_manager.rollout.terms import Terms
from sealane_manager.rollout.trial import trial_of
from sealane_manager.rollout.types import DeviceState, GatePolicy, Phase, RolloutState
from support.rollouts import NEW, OLD, START, a_spec


def candidates(*names: str) -> list[Candidate]:
    return [Candidate(DeviceId(name), OLD, str(OLD), "") for name in names]


def test_it_starts_with_its_first_stage_and_everybody_waiting() -> None:
    names = [f"d{number}" for number in range(5)]
    made = draft("r-7", a_spec("1", "40%"), candidates(*names), START)
    assert (made.state, made.phase, made.stage) == (RolloutState.RUNNING, Phase.DISPATCH, 0)
    assert {device.state for device in made.devices} == {DeviceState.WAITING}
    assert [device.device for device in made.devices] == list(order("r-7", map(DeviceId, names)))
    assert [device.stage for device in made.devices] == [0, 1, 2, 2, 2]
    assert made.previous == OLD


def test_devices_that_serve_it_already_are_left_out_and_do_not_swell_the_stages() -> None:
    done = [Candidate(DeviceId(f"done{number}"), NEW, str(NEW), "") for number in range(8)]
    made = draft("r-7", a_spec("50%", "100%"), [*done, *candidates("d1", "d2")], START)
    assert [device.stage for device in made.devices] == [0, 1]


def test_a_device_that_should_serve_it_but_does_not_takes_part() -> None:
    broken = Candidate(DeviceId("d1"), NEW, str(OLD), "")
    assert len(draft("r-7", a_spec(), [broken], START).devices) == 1


def test_a_selector_without_devices_is_refused() -> None:
    with pytest.raises(Refused, match="no device matches 'site=mars'"):
        draft("r-7", a_spec(selector="site=mars"), [], START)


def test_a_rollout_that_would_change_nothing_is_refused() -> None:
    done = [Candidate(DeviceId("d1"), NEW, str(NEW), "")]
    with pytest.raises(Refused, match="serves vision/defect@2 in cam already"):
        draft("r-7", a_spec(), done, START)


def test_a_version_of_the_agent_is_not_tried_beside_another() -> None:
    spec = a_spec(slot=AGENT_SLOT, terms=Terms(trial=Trial(0.5)))
    with pytest.raises(Refused, match="answers no requests"):
        draft("r-7", spec, candidates("d1"), START)


@pytest.mark.parametrize(
    ("mode", "breach", "limit"),
    [
        (Mode.ENFORCE, Breach.FAIL, 0.05),
        (Mode.DRY_RUN, Breach.FAIL, 1.0),
        (Mode.ENFORCE, Breach.HOLD, 1.0),
    ],
)
def test_a_device_stops_by_itself_at_the_share_of_other_answers_that_stops_the_rollout(
    mode: Mode, breach: Breach, limit: float
) -> None:
    checks = Checks(checks=(Check(Kind.DISAGREEMENT, 0.05, mode=mode, breach=breach),))
    shadowed = Terms(trial=Trial(0.5, 60, 600))
    spec = a_spec(gate=GatePolicy(checks=checks), terms=shadowed)
    assert trial_of(spec) == Trial(0.5, 60, 600, limit)
    assert trial_of(replace(spec, terms=Terms(trial=Trial(0.5)))) == Trial(0.5)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"soak": timedelta(days=-1)}, "the soak"),
        ({"soak": timedelta(days=9999)}, "the soak"),
        ({"gate": GatePolicy(silent_after=timedelta(0))}, "the time after which"),
        ({"gate": GatePolicy(max_failed=-1)}, "the number of failed devices"),
        ({"gate": GatePolicy(max_failed_percent=101)}, "the share of failed devices"),
        ({"gate": GatePolicy(min_requests=2**63)}, "the number of requests"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidName, match=what):
        draft("r-7", a_spec(**changes), candidates("d1"), START)


def test_a_collision_names_the_other_rollout_and_the_device() -> None:
    busy = [Candidate(DeviceId("d1"), OLD, str(OLD), "r-3"), *candidates("d2")]
    with pytest.raises(Refused, match="rollout r-3 is still changing slot cam on d1"):
        draft("r-7", a_spec(), busy, START)
