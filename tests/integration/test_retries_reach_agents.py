"""A failure that passes: the manager asks again over gRPC and TLS, and the agent tries again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.failure import FailureKind
from sealane.names import ReleaseName
from sealane_manager.rollout.terms import Retries, Terms
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agent_fakes import failure
from support.agent_fleet import Fleet, state_of
from support.agents import serving
from support.bundles import TINY_MODEL, tiny_bundle
from support.manager import SLOT, running_manager

if TYPE_CHECKING:
    from pathlib import Path

FULL = failure(FailureKind.ENVIRONMENTAL, "store", "the disk is full")
BROKEN = replace(FULL, kind=FailureKind.PERMANENT, message="it does not load")


def asked(version: int, retries: Retries) -> RolloutSpec:
    release = ReleaseName(TINY_MODEL, version)
    stages = (Stage(percent=100),)
    return RolloutSpec(release, SLOT, "", stages, timedelta(0), terms=Terms(retries=retries))


@pytest.mark.slow
def test_an_agent_tries_again_what_may_pass_and_never_what_cannot(tmp_path: Path) -> None:
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        published = {}
        for version in (1, 2):
            layout = tiny_bundle(tmp_path / f"tiny-{version}", version, ProbationLimits(seconds=0))
            published[version] = manager.publish_layout(layout, version).digest
        fleet = Fleet(manager, tmp_path / "agents", 2)
        unlucky = fleet.agents[0].endpoint
        unlucky.bad = {published[1]: FULL}
        with fleet.living():
            spec = asked(1, Retries(5, timedelta(seconds=1)))
            rollout = operator.create_rollout(spec, "").id
            for seen in operator.watch_rollout(rollout):
                if sum(each.action == "try again" for each in seen.decisions) > 1:
                    unlucky.bad = {}
            assert str(seen.state) == "succeeded"
            assert [serving(agent)[0] for agent in fleet.agents] == [1, 1]
            grants = [each.detail for each in seen.decisions if each.action == "grant"]
            assert "edge-0 (attempt 3)" in " ".join(grants)

            unlucky.bad = {published[2]: BROKEN}
            spec = asked(2, Retries(5, timedelta(seconds=1)))
            rollout = operator.create_rollout(spec, "").id
            assert state_of(operator, rollout) == "reverted"
            found = operator.get_rollout(rollout)
            assert not [each for each in found.decisions if each.action == "try again"]
            fleet.wait(lambda: fleet.all_serve(1))
