"""A challenger beside the champion: manager and agents over gRPC and TLS, their slots simulated."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane.policy import Trial
from sealane_manager.rollout.terms import Terms
from sealane_manager.rollout.types import Operation, RolloutSpec, Stage
from support.agent_fakes import CAM
from support.agent_fleet import Fleet, rolled_out, state_of
from support.agents import serving
from support.bundles import TINY_MODEL, tiny_bundle
from support.manager import SLOT, running_manager

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_manager.client import Operator


def challenge(operator: Operator, version: int, lasts: timedelta) -> str:
    """Version `version` answers a fifth of the requests everywhere, until the verdict."""
    terms = Terms(trial=Trial(0.2), challenge=lasts)
    release, stages = ReleaseName(TINY_MODEL, version), (Stage(percent=100),)
    spec = RolloutSpec(release, SLOT, "", stages, timedelta(0), terms=terms)
    return operator.create_rollout(spec, "").id


def side_by_side(operator: Operator, rollout: str) -> None:
    """Wait until the challenge is watched: every device is a challenger."""
    for seen in operator.watch_rollout(rollout):
        if str(seen.phase) == "soak":
            break
    assert {str(each.state) for each in seen.devices} == {"probation"}


@pytest.mark.slow
def test_a_challenger_is_promoted_by_the_verdict_and_dropped_by_hand(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        for version in (1, 2, 3):
            layout = tiny_bundle(tmp_path / f"tiny-{version}", version, ProbationLimits(seconds=0))
            manager.publish_layout(layout, version)
        fleet = Fleet(manager, tmp_path / "agents", 2)
        with fleet.living():
            assert state_of(operator, rolled_out(operator, 1)) == "succeeded"

            rollout = challenge(operator, 2, timedelta(seconds=2))
            side_by_side(operator, rollout)
            assert {agent.endpoint.shares[CAM] for agent in fleet.agents} == {0.2}
            assert state_of(operator, rollout) == "succeeded"
            assert [serving(agent)[0] for agent in fleet.agents] == [2, 2]
            done = [each.action for each in operator.get_rollout(rollout).decisions]
            assert done.index("crown") < done.index("serving")

            rollout = challenge(operator, 3, timedelta(days=1))
            side_by_side(operator, rollout)
            operator.control_rollout(rollout, Operation.ABORT, "no better")
            assert state_of(operator, rollout) == "aborted"
            fleet.wait(lambda: fleet.all_serve(2))

            rollout = challenge(operator, 3, timedelta(days=1))
            side_by_side(operator, rollout)
            operator.control_rollout(rollout, Operation.PROMOTE, "good enough")
            assert state_of(operator, rollout) == "succeeded"
            assert fleet.all_serve(3)
