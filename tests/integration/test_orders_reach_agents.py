"""The kill switch, its end, and holds, from an operator's call to agents over gRPC and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sealane.bundle.types import ProbationLimits
from sealane.names import DeviceId, ReleaseName
from sealane_manager.alerts.rules import findings
from sealane_manager.alerts.types import Health
from sealane_manager.desk import Pace
from sealane_manager.hold_order import HoldWish
from sealane_manager.store.store import open_store
from support.agent_fleet import Fleet, rolled_out, state_of
from support.agents import serving
from support.bundles import TINY_MODEL, tiny_bundle
from support.machines import wait_for
from support.manager import SLOT, running_manager

if TYPE_CHECKING:
    from pathlib import Path

    from support.manager import RunningManager

COUNT = 5
SECOND = ReleaseName(TINY_MODEL, 2)


@pytest.mark.slow
def test_what_is_ordered_reaches_every_agent_and_is_kept(tmp_path: Path) -> None:
    pace = Pace(heartbeat_s=1.0)
    with running_manager(tmp_path, pace=pace) as manager, manager.operator() as operator:
        for version in (1, 2, 3):
            layout = tiny_bundle(tmp_path / f"tiny-{version}", version, ProbationLimits(seconds=0))
            manager.publish_layout(layout, version)
        fleet = Fleet(manager, tmp_path / "agents", COUNT)
        with fleet.living():
            for version in (1, 2):
                assert state_of(operator, rolled_out(operator, version)) == "succeeded"
            assert [serving(agent) for agent in fleet.agents] == [(2, 1)] * COUNT

            assert operator.quarantine(SECOND, "wrong labels") == COUNT
            fleet.wait(lambda: [serving(each) for each in fleet.agents] == [(1, 0)] * COUNT)
            wait_for("an alert of each", lambda: len(alerted(manager)) == COUNT)
            assert all("wrong labels" in each for each in alerted(manager))
            operator.lift_quarantine(SECOND, "they were right")
            wait_for("the end of the alerts", lambda: not alerted(manager))
            assert [serving(each) for each in fleet.agents] == [(1, 0)] * COUNT
            assert state_of(operator, rolled_out(operator, 2)) == "succeeded"
            assert fleet.all_serve(2)

            until = datetime.now(UTC) + timedelta(hours=1)
            placed = operator.orders.hold(HoldWish("edge-0", "", until, "audit"))
            assert (placed.devices, placed.slot_unknown) == (1, False)
            held = placed.order
            rollout = rolled_out(operator, 3)
            waits = re.compile(r"waits for edge-0 \(staged: .*: audit\); 1 held")
            seen = operator.watch_rollout(rollout)
            assert any(waits.fullmatch(each.reason) for each in seen)
            others = fleet.agents[1:]
            fleet.wait(lambda: all(serving(each)[0] == 3 for each in others))
            assert serving(fleet.agents[0])[0] == 2
            operator.orders.release(held.hold.id, "done")
            assert state_of(operator, rollout) == "succeeded"
            assert fleet.all_serve(3)

            back, release = operator.orders.roll_back(DeviceId("edge-1"), SLOT, "it is slow")
            assert (release, state_of(operator, back)) == ("demo/tiny@2", "succeeded")
            assert [serving(each)[0] for each in fleet.agents] == [3, 2, 3, 3, 3]


def alerted(manager: RunningManager) -> list[str]:
    """What the rules find wrong with what was to serve, as the manager keeps it."""
    store = open_store(manager.state.database)
    try:
        health = Health(datetime.now(UTC), 1.0, store.health.devices((), 0))
    finally:
        store.close()
    return [each.text for each in findings(health) if each.rule == "activation_failed"]
