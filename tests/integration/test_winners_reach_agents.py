"""What the first device of a class measured reaches the second, over gRPC and TLS."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import ReleaseName
from sealane_manager.rollout.types import RolloutSpec, Stage
from support.agent_fleet import Fleet, state_of
from support.bundles import TINY_MODEL, tiny_deployment, tiny_files, with_variants, write_bundle
from support.classes import ALL, LATENCY_US
from support.manager import SLOT, running_manager

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_the_first_device_of_a_class_compares_the_variants_and_the_second_proves_the_winner(
    tmp_path: Path,
) -> None:
    deployment = with_variants(tiny_deployment(ProbationLimits(seconds=0)), ALL)
    with running_manager(tmp_path) as manager, manager.operator() as operator:
        manager.publish_layout(write_bundle(tmp_path / "tiny", tiny_files(1, deployment)), 1)
        fleet = Fleet(manager, tmp_path / "agents", 2)
        for agent in fleet.agents:
            agent.endpoint.latency_us = dict(LATENCY_US)
        one_by_one = (Stage(count=1), Stage(percent=100))
        spec = RolloutSpec(ReleaseName(TINY_MODEL, 1), SLOT, "", one_by_one, timedelta(0))
        with fleet.living():
            assert state_of(operator, operator.create_rollout(spec, "").id) == "succeeded"
    loaded = [[variant for variant, _ in agent.endpoint.asked] for agent in fleet.agents]
    assert sorted(loaded, key=len) == [["int8"], ALL]
